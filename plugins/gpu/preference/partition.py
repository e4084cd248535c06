"""Partition GPUs into sets of one size, so that each set is well connected.

The score of a set is the sum of the scores of its pairs; that of a partition is the sum over its sets, as in NVIDIA's
plugin. So a container gets a set that leaves good sets for later containers of its size. Among partitions with equal
scores, the one with the best worst set wins: no container gets a bad set because another one got the best.
"""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache, partial
from itertools import combinations
from math import comb, factorial

Matrix = Sequence[Sequence[int]]
Set = tuple[int, ...]

EXHAUSTIVE = 300
"""Up to this many partitions, all are tried; 8 GPUs have 280 at most. Beyond that, the search is bounded: from several
starts, pairs of GPUs change places as long as that helps. NVIDIA's plugin always tries all, which takes seconds with
16 GPUs."""

KEPT = 8
"""Lists of all partitions that are kept: building one takes longer than finding the best in it. At most 0.1 MB each."""

STARTS = 4
"""The number of GPUs from which a bounded search starts, twice from each."""


def set_score(pairs: Matrix, members: Sequence[int]) -> int:
    """Return the sum of the pairs in a set."""
    return sum(pairs[one][other] for one, other in combinations(members, 2))


def best_partition(pairs: Matrix, fixed: Sequence[int], size: int) -> list[Set]:
    """Partition GPUs, given by their numbers, into sets of a size.

    If they do not divide evenly, the last set is smaller.

    Args:
        pairs: The score of each pair.
        fixed: GPUs that belong to the first set.
        size: The size of the sets.
    """
    # The same set is in many partitions.
    score = cache(partial(set_score, pairs))

    def worth(sets: list[Set]) -> tuple[int, list[int]]:
        scores = [score(members) for members in sets]
        # No container gets the smaller set, so it need not be as good as the others.
        return sum(scores), sorted(score for score, members in zip(scores, sets, strict=True) if len(members) == size)

    if size == 1:
        return [*([tuple(fixed)] if fixed else []), *((number,) for number in range(len(pairs)) if number not in fixed)]
    if _count(len(pairs), size, len(fixed)) <= EXHAUSTIVE:
        return max(_all_partitions(len(pairs), tuple(fixed), size), key=worth)
    return max((_Search(pairs, start, fixed).improved() for start in _starts(pairs, fixed, size)), key=worth)


def _count(gpus: int, size: int, fixed: int) -> int:
    """Count the partitions."""
    first = comb(gpus - fixed, size - fixed) if fixed else 1
    left = gpus - size if fixed else gpus
    sets = left // size
    return first * int(factorial(left) // (factorial(size) ** sets * factorial(sets) * factorial(left % size)))


@lru_cache(maxsize=KEPT)
def _all_partitions(count: int, fixed: Set, size: int) -> list[list[Set]]:
    return list(_partitions(tuple(range(count)), fixed, size))


def _partitions(numbers: Set, fixed: Sequence[int], size: int) -> Iterator[list[Set]]:
    if fixed:
        for first, rest in _splits(numbers, fixed, size):
            for others in _partitions(rest, (), size):
                yield [first, *others]
    elif len(numbers) < size:
        yield [numbers] if numbers else []
    elif len(numbers) % size:
        # Begin with the last GPUs as the rest: the first of equal partitions wins, so the earlier GPUs are chosen.
        for rest, left in reversed(list(_splits(numbers, (), len(numbers) % size))):
            for others in _partitions(left, (), size):
                yield [*others, rest]
    else:
        # Begin with the set of the first GPU, so that the same sets do not occur again in a different order.
        for first, rest in _splits(numbers, numbers[:1], size):
            for others in _partitions(rest, (), size):
                yield [first, *others]


def _splits(numbers: Set, fixed: Sequence[int], size: int) -> Iterator[tuple[Set, Set]]:
    """Yield each set of this size that contains the fixed GPUs, and the numbers that are left."""
    free = [number for number in numbers if number not in fixed]
    for more in combinations(free, size - len(fixed)):
        first = tuple(sorted((*fixed, *more)))
        yield first, tuple(number for number in numbers if number not in first)


def _starts(pairs: Matrix, fixed: Sequence[int], size: int) -> Iterator[list[Set]]:
    free = [number for number in range(len(pairs)) if number not in fixed]
    for at in range(0, len(free), max(1, len(free) // STARTS)):
        order = [*fixed, *free[at:], *free[:at]]
        # Neighbours in the driver's order are often on the same switch.
        yield [tuple(order[start : start + size]) for start in range(0, len(order), size)]
        yield _grown(pairs, order, len(fixed) or 1, size)


def _grown(pairs: Matrix, order: Sequence[int], seeds: int, size: int) -> list[Set]:
    """Build sets one after another, beginning with the first GPUs; each set grows by the GPU that adds most."""
    members, left = list(order[:seeds]), list(order[seeds:])
    sets = []
    while left:
        if len(members) == size:
            sets.append(tuple(members))
            members = [left.pop(0)]
            continue
        best = max(left, key=lambda number: sum(pairs[number][member] for member in members))
        left.remove(best)
        members.append(best)
    return [*sets, tuple(members)]


class _Search:
    """A search that improves a partition until no exchange of two GPUs between its sets helps.

    Args:
        pairs: The score of each pair.
        sets: The partition.
        fixed: GPUs that stay in their set.
    """

    def __init__(self, pairs: Matrix, sets: Sequence[Set], fixed: Sequence[int]) -> None:
        self._pairs = pairs
        self._sets = [set(members) for members in sets]
        self._set_of = {number: at for at, members in enumerate(sets) for number in members}
        self._movable = sorted(set(range(len(pairs))) - set(fixed))
        self._scores = [set_score(pairs, members) for members in sets]
        # What each GPU adds to the score of each set.
        self._gains = [[sum(row[member] for member in members) for members in sets] for row in pairs]

    def improved(self) -> list[Set]:
        """Return the improved partition. Each exchange makes it better, so the search ends."""
        exchanged = True
        while exchanged:
            exchanged = False
            for one, other in combinations(self._movable, 2):
                if self._set_of[one] != self._set_of[other] and self._improves(one, other):
                    self._exchange(one, other)
                    exchanged = True
        return [tuple(sorted(members)) for members in self._sets]

    def _improves(self, one: int, other: int) -> bool:
        here, there = self._set_of[one], self._set_of[other]
        first, second, pair = self._gains[one], self._gains[other], self._pairs[one][other]
        come, go = second[here] - first[here] - pair, first[there] - second[there] - pair
        if come + go or len(self._sets[here]) != len(self._sets[there]):
            return come + go > 0
        here_score, there_score = self._scores[here], self._scores[there]
        return min(here_score + come, there_score + go) > min(here_score, there_score)

    def _exchange(self, one: int, other: int) -> None:
        here, there = self._set_of[one], self._set_of[other]
        first, second, pair = self._gains[one], self._gains[other], self._pairs[one][other]
        self._scores[here] += second[here] - first[here] - pair
        self._scores[there] += first[there] - second[there] - pair
        self._set_of[one], self._set_of[other] = there, here
        self._sets[here] ^= {one, other}
        self._sets[there] ^= {one, other}
        for gains, old, new in zip(self._gains, self._pairs[one], self._pairs[other], strict=True):
            gains[here] += new - old
            gains[there] += old - new
