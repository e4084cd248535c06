"""Preferred allocation: which of the available devices a container should get."""

from collections.abc import Mapping, Sequence

from plugins.gpu.discovery.facts import Topology
from plugins.gpu.preference.connected import best_connected
from plugins.gpu.preference.spread import group_of, spread
from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import AllocationPolicy

__all__ = ["group_of", "prefer"]


def prefer(  # noqa: PLR0917 - the kubelet's question, and what it is asked about
    topology: Topology,
    totals: Mapping[str, int],
    policy: AllocationPolicy,
    available: Sequence[Share],
    required: Sequence[Share],
    size: int,
) -> list[Share]:
    """The best so many of the available shares, the required ones among them; none where the question is odd.

    Args:
        topology: How the GPUs are connected.
        totals: How many shares of this resource each group has (`group_of`), allocated ones included.
        policy: How shares are distributed.
        available: What the kubelet can give.
        required: What it will give in any case.
        size: How many it wants.
    """
    by_id = {share.id: share for share in available}
    wanted = [share.id for share in required]
    if len(set(wanted)) < len(wanted) or not by_id.keys() >= set(wanted) or not len(wanted) <= size <= len(by_id):
        return []
    if any(share.mig or share.sharing is not Sharing.NONE for share in by_id.values()):
        return spread(totals, policy, list(by_id.values()), required, size)
    ids = sorted(by_id, key=lambda name: by_id[name].gpu.index)
    return [by_id[name] for name in best_connected(topology, ids, wanted, size)]
