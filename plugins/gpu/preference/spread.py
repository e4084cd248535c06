"""Choose shares of GPUs and MIG devices: spread over the GPUs, or packed on as few as possible."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heapreplace

from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import AllocationPolicy


def group_of(share: Share) -> str:
    """Return the group that is filled or spared: the device of a replica, or the GPU of a MIG device."""
    return share.gpu.uuid if share.sharing is Sharing.NONE else share.uuid


def spread(
    totals: Mapping[str, int],
    policy: AllocationPolicy,
    available: Sequence[Share],
    required: Sequence[Share],
    size: int,
) -> list[Share]:
    """Choose the best shares, including the required ones.

    The replicas of one container are of different GPUs if possible: two of the same GPU are no gain.

    Args:
        totals: The number of shares by group, including allocated ones.
        policy: Whether the group with the fewest or with the most allocated shares comes first.
        available: The shares that can be allocated.
        required: Those that will be allocated in any case.
        size: The number of shares to choose.
    """
    held = Counter(totals)
    held.subtract(Counter(group_of(share) for share in available))
    taken = Counter(group_of(share) for share in required)
    sign = 1 if policy is AllocationPolicy.DISTRIBUTED else -1
    kept = {share.id for share in required}
    left: defaultdict[str, list[Share]] = defaultdict(list)
    for share in sorted(available, key=_position, reverse=True):
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


def _position(share: Share) -> tuple[int, int, int]:
    return share.gpu.index, share.mig.index if share.mig else 0, share.replica
