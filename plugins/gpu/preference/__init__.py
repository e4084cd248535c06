"""Preferred allocation: choose among the available devices for a container."""

from collections.abc import Mapping, Sequence

from plugins.gpu.discovery.facts import Topology
from plugins.gpu.preference.connected import best_connected
from plugins.gpu.preference.spread import group_of, spread
from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import AllocationPolicy

__all__ = ["group_of", "prefer"]


def prefer(  # noqa: PLR0917 - the kubelet's request, and the facts to answer it
    topology: Topology,
    totals: Mapping[str, int],
    policy: AllocationPolicy,
    available: Sequence[Share],
    required: Sequence[Share],
    size: int,
) -> list[Share]:
    """Choose the best `size` available shares, including the required ones; none if the request is inconsistent.

    Args:
        topology: How the GPUs are connected.
        totals: The number of shares of this resource by group (`group_of`), including allocated ones.
        policy: How to distribute shares.
        available: The shares that can be allocated.
        required: Those that will be allocated in any case.
        size: The number of shares to choose.
    """
    by_id = {share.id: share for share in available}
    wanted = [share.id for share in required]
    if len(set(wanted)) < len(wanted) or not by_id.keys() >= set(wanted) or not len(wanted) <= size <= len(by_id):
        return []
    if any(share.mig or share.sharing is not Sharing.NONE for share in by_id.values()):
        return spread(totals, policy, list(by_id.values()), required, size)
    ids = sorted(by_id, key=lambda name: by_id[name].gpu.index)
    return [by_id[name] for name in best_connected(topology, ids, wanted, size)]
