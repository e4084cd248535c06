"""Choose GPUs that are well connected.

The score of a set of GPUs is the sum of the scores of its pairs. Among sets with equal scores, the best one leaves the
best remaining set, which follows from the set itself: with s(S) the sum of the pairs in S, and d(i) the sum of the
pairs of i with all available GPUs, the remaining set scores s(all) + s(S) - d(S). So among equals the set with the
smallest d(S) wins, and the search needs only the set.

NVIDIA's plugin asks the driver for every pair in every call and tries all partitions of all available GPUs, which takes
seconds with 16 of them.
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
"""The score of a pair by where its PCIe paths meet, as in NVIDIA's plugin."""

NVLINK_SCORE = 100
"""The additional score of each NVLink."""

EXHAUSTIVE = 300
"""Up to this many sets, all are tried; 8 GPUs have 70 at most. Beyond that, the search is bounded: starting at each
GPU, it adds the best one until the size is reached, then swaps individual GPUs as long as that helps."""

Matrix = Sequence[Sequence[int]]


def score(link: Link) -> int:
    """Return the score of a connection."""
    return ANCESTOR_SCORE[link.ancestor] + NVLINK_SCORE * link.nvlinks


def best_connected(topology: Topology, available: Sequence[str], required: Sequence[str], size: int) -> list[str]:
    """Choose the best set of GPUs of a size, including the required ones.

    Args:
        topology: How the GPUs are connected.
        available: Their UUIDs; earlier ones win among equals.
        required: Some of them.
        size: The size, from the number of required to the number of available ones.
    """
    pairs = [[score(topology.link(one, other)) if one != other else 0 for other in available] for one in available]
    scores = _Scores(pairs)
    fixed = tuple(number for number, uuid in enumerate(available) if uuid in set(required))
    free = [number for number in range(len(available)) if number not in fixed]
    missing = size - len(fixed)
    if comb(len(free), missing) <= EXHAUSTIVE:
        candidates = (tuple(sorted((*fixed, *more))) for more in combinations(free, missing))
    else:
        candidates = (scores.improved(scores.grown((*fixed, start), size), fixed) for start in free)
    best = max(candidates, key=lambda chosen: (scores.of(chosen), [-number for number in chosen]))
    return [available[number] for number in best]


class _Scores:
    """Scores sets of GPUs, given by their numbers: first by the pairs in a set, then by those among the others."""

    def __init__(self, pairs: Matrix) -> None:
        # One unit of a pair in the set outweighs all pairs among the others.
        unit = sum(map(sum, pairs)) + 1
        self._pairs = [[unit * value for value in row] for row in pairs]
        self._cost = [sum(row) for row in pairs]

    def of(self, chosen: Sequence[int]) -> int:
        """Return the score of a set."""
        pairs = self._pairs
        return sum(pairs[one][other] for one, other in combinations(chosen, 2)) - sum(self._cost[n] for n in chosen)

    def grown(self, start: Sequence[int], size: int) -> set[int]:
        """Return the set with the best GPU added until it has the size."""
        chosen = set(start)
        gains = self._gains(chosen)
        while len(chosen) < size:
            best = max((n for n in range(len(gains)) if n not in chosen), key=gains.__getitem__)
            chosen.add(best)
            gains = [gain + pair for gain, pair in zip(gains, self._pairs[best], strict=True)]
        return chosen

    def improved(self, chosen: set[int], fixed: Sequence[int]) -> tuple[int, ...]:
        """Return the set after swaps of members as long as they help. Each improves the score, so the loop ends."""
        gains = self._gains(chosen)
        while True:
            movable = [n for n in chosen if n not in fixed]
            others = [n for n in range(len(gains)) if n not in chosen]
            swaps = ((gains[new] - gains[old] - self._pairs[old][new], -new, -old) for old in movable for new in others)
            gain, new, old = max(swaps, default=(0, 0, 0))
            if gain <= 0:
                return tuple(sorted(chosen))
            chosen = (chosen - {-old}) | {-new}
            away, here = self._pairs[-old], self._pairs[-new]
            gains = [value - left + come for value, left, come in zip(gains, away, here, strict=True)]

    def _gains(self, chosen: set[int]) -> list[int]:
        """Return what each GPU adds to the score of a set, or takes from it by leaving."""
        rows = [self._pairs[n] for n in chosen]
        return [sum(column) - cost for column, cost in zip(zip(*rows, strict=True), self._cost, strict=True)]
