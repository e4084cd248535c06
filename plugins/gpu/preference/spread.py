"""Which shares of GPUs, and which MIG devices: spread over the GPUs, or on as few as possible."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heapreplace

from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import AllocationPolicy


def group_of(share: Share) -> str:
    """What is filled up or spared: what replicas are replicas of, and the GPU that a MIG device is a part of."""
    return share.gpu.uuid if share.sharing is Sharing.NONE else share.uuid


def spread(
    totals: Mapping[str, int],
    policy: AllocationPolicy,
    available: Sequence[Share],
    required: Sequence[Share],
    size: int,
) -> list[Share]:
    """The best shares, the required ones among them.

    Replicas for one container are of different GPUs where that is possible: two of the same one bring it nothing.

    Args:
        totals: How many shares each group has, allocated ones included.
        policy: Whether the group with the fewest or with the most allocated shares comes first.
        available: What there is.
        required: Some of it.
        size: How many.
    """
    held = Counter(totals)
    held.subtract(Counter(group_of(share) for share in available))
    taken = Counter(group_of(share) for share in required)
    sign = 1 if policy is AllocationPolicy.DISTRIBUTED else -1
    kept = {share.id for share in required}
    left: defaultdict[str, list[Share]] = defaultdict(list)
    for share in sorted(available, key=_place, reverse=True):
        if share.id not in kept:
            left[group_of(share)].append(share)
    order = {group: number for number, group in enumerate(reversed(left))}

    def rank(group: str) -> tuple[int, int, int, str]:
        again = taken[group] if left[group][-1].sharing is not Sharing.NONE else 0
        return again, sign * (held[group] + taken[group]), order[group], group

    heap = [rank(group) for group in left]
    heapify(heap)
    chosen = list(required)
    while len(chosen) < size:
        group = heap[0][-1]
        chosen.append(left[group].pop())
        taken[group] += 1
        if left[group]:
            heapreplace(heap, rank(group))
        else:
            heappop(heap)
    return chosen


def _place(share: Share) -> tuple[int, int, int]:
    return share.gpu.index, share.mig.index if share.mig else 0, share.replica
