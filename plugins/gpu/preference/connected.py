"""Which GPUs work best together.

A set of GPUs is as good as the sum of what connects its pairs. Among sets that are equally good, the one is best that
leaves the best rest, which follows from the set itself: with s(S) the sum of the pairs in S, and d(i) the sum of the
pairs of i with all available GPUs, the rest has s(all) + s(S) - d(S). So among equals the one with the smallest d(S)
wins, and the search looks at nothing but the set.

NVIDIA's plugin asks the driver for every pair at every call and tries all partitions of all available GPUs, which takes
seconds on 16 of them.
"""

from collections.abc import Sequence
from itertools import combinations
from math import comb

from plugins.gpu.discovery.facts import Ancestor, Link, Topology

ANCESTOR_SCORE = {
    Ancestor.SYSTEM: 10,
    Ancestor.CPU: 20,
    Ancestor.HOST_BRIDGE: 30,
    Ancestor.MULTIPLE_SWITCHES: 40,
    Ancestor.SINGLE_SWITCH: 50,
    Ancestor.BOARD: 60,
}
"""What a pair is worth by where its PCIe paths meet, as in NVIDIA's plugin."""

NVLINK_SCORE = 100
"""What each NVLink adds."""

EXHAUSTIVE = 300
"""So many sets are all tried; of 8 GPUs there are 70 at most. Beyond, the search is bounded: from every GPU on it adds
the best one, then exchanges one for another for as long as that helps."""

Matrix = Sequence[Sequence[int]]


def score(link: Link) -> int:
    """What the connection of a pair is worth."""
    return ANCESTOR_SCORE[link.ancestor] + NVLINK_SCORE * link.nvlinks


def best_connected(topology: Topology, available: Sequence[str], required: Sequence[str], size: int) -> list[str]:
    """The best set of so many GPUs, the required ones among them.

    Args:
        topology: How they are connected.
        available: Their UUIDs; earlier ones win among equals.
        required: Some of them.
        size: How many, at least as many as are required and at most as many as are available.
    """
    pairs = [[score(topology.link(one, other)) if one != other else 0 for other in available] for one in available]
    worth = _Worth(pairs)
    fixed = tuple(number for number, uuid in enumerate(available) if uuid in set(required))
    free = [number for number in range(len(available)) if number not in fixed]
    missing = size - len(fixed)
    if comb(len(free), missing) <= EXHAUSTIVE:
        candidates = (tuple(sorted((*fixed, *more))) for more in combinations(free, missing))
    else:
        candidates = (worth.improved(worth.grown((*fixed, start), size), fixed) for start in free)
    best = max(candidates, key=lambda chosen: (worth.of(chosen), [-number for number in chosen]))
    return [available[number] for number in best]


class _Worth:
    """What sets of GPUs, by their numbers, are worth: the pairs in them first, then what they leave."""

    def __init__(self, pairs: Matrix) -> None:
        # One unit of a pair outweighs all that can be left.
        unit = sum(map(sum, pairs)) + 1
        self._pairs = [[unit * value for value in row] for row in pairs]
        self._cost = [sum(row) for row in pairs]

    def of(self, chosen: Sequence[int]) -> int:
        """What a set is worth."""
        pairs = self._pairs
        return sum(pairs[one][other] for one, other in combinations(chosen, 2)) - sum(self._cost[n] for n in chosen)

    def grown(self, start: Sequence[int], size: int) -> set[int]:
        """The set with the best one added again and again."""
        chosen = set(start)
        gains = self._gains(chosen)
        while len(chosen) < size:
            best = max((n for n in range(len(gains)) if n not in chosen), key=gains.__getitem__)
            chosen.add(best)
            gains = [gain + pair for gain, pair in zip(gains, self._pairs[best], strict=True)]
        return chosen

    def improved(self, chosen: set[int], fixed: Sequence[int]) -> tuple[int, ...]:
        """The set with members exchanged for as long as that helps. Each exchange makes it better, so it ends."""
        gains = self._gains(chosen)
        while True:
            movable = [n for n in chosen if n not in fixed]
            others = [n for n in range(len(gains)) if n not in chosen]
            exchanges = (
                (gains[new] - gains[old] - self._pairs[old][new], -new, -old) for old in movable for new in others
            )
            gain, new, old = max(exchanges, default=(0, 0, 0))
            if gain <= 0:
                return tuple(sorted(chosen))
            chosen = (chosen - {-old}) | {-new}
            away, here = self._pairs[-old], self._pairs[-new]
            gains = [value - left + come for value, left, come in zip(gains, away, here, strict=True)]

    def _gains(self, chosen: set[int]) -> list[int]:
        """What each GPU adds to a set, or takes from it by leaving."""
        rows = [self._pairs[n] for n in chosen]
        return [sum(column) - cost for column, cost in zip(zip(*rows, strict=True), self._cost, strict=True)]
