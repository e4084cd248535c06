"""Choose shares of GPUs and MIG devices: spread over the GPUs, or packed on as few as possible."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heapreplace

from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import AllocationPolicy


def group_of(share: Share) -> str:
    """Return the group that is filled or kept free: the device of a replica, or the GPU of a MIG device."""
    return share.gpu.uuid if share.sharing is Sharing.NONE else share.uuid


def spread(
    totals: Mapping[str, int],
    policy: AllocationPolicy,
    available: Sequence[Share],
    required: Sequence[Share],
    size: int,
) -> list[Share]:
    """Choose the best shares, including the required ones.

    With the `distributed` policy, the replicas of one container come from different GPUs if possible: two from the same
    GPU have no advantage.

    Args:
        totals: The number of shares by group, including allocated ones.
        policy: Whether the group with the fewest or with the most allocated shares comes first.
        available: The shares that can be allocated.
        required: Those that will be allocated in any case.
        size: The number of shares to choose.
    """
    allocated = Counter(totals)
    allocated.subtract(Counter(group_of(share) for share in available))
    groups = _Groups(_free_shares(available, required), policy, allocated, required)
    return [*required, *(groups.take() for _ in range(size - len(required)))]


class _Groups:
    """The groups with free shares, the best one first.

    Args:
        free: The free shares by group, the best one last.
        policy: Whether the group with the fewest or with the most allocated shares comes first.
        allocated: The number of allocated shares by group.
        required: Shares that are already taken.
    """

    def __init__(
        self,
        free: Mapping[str, list[Share]],
        policy: AllocationPolicy,
        allocated: Mapping[str, int],
        required: Sequence[Share],
    ) -> None:
        self._free = free
        self._distributed = policy is AllocationPolicy.DISTRIBUTED
        self._allocated = allocated
        self._taken = Counter(group_of(share) for share in required)
        self._order = {group: number for number, group in enumerate(reversed(list(free)))}
        self._heap = [self._rank(group) for group in free]
        heapify(self._heap)

    def take(self) -> Share:
        """Take the best share of the best group."""
        group = self._heap[0][-1]
        share = self._free[group].pop()
        self._taken[group] += 1
        if self._free[group]:
            heapreplace(self._heap, self._rank(group))
        else:
            heappop(self._heap)
        return share

    def _rank(self, group: str) -> tuple[int, int, int, str]:
        taken = self._taken[group]
        used = self._allocated[group] + taken
        if not self._distributed:
            return 0, -used, self._order[group], group
        repeated = taken if self._free[group][-1].sharing is not Sharing.NONE else 0
        return repeated, used, self._order[group], group


def _free_shares(available: Sequence[Share], required: Sequence[Share]) -> dict[str, list[Share]]:
    """Return, by group, the shares that are not required, each group in descending order."""
    kept = {share.id for share in required}
    free: defaultdict[str, list[Share]] = defaultdict(list)
    for share in sorted(available, key=_position, reverse=True):
        if share.id not in kept:
            free[group_of(share)].append(share)
    return free


def _position(share: Share) -> tuple[int, int, int]:
    return share.gpu.index, share.mig.index if share.mig else 0, share.replica
