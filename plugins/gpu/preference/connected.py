"""Choose GPUs that are well connected, so that the remaining GPUs are well connected, too.

The best partition of all available GPUs into sets of the requested size determines the candidates. Of its sets, the one
with the highest score wins. Among equals, it is the set that leaves the best remaining GPUs, which follows from the set
itself: with s(S) the sum of the pairs in S, and d(i) the sum of the pairs of i with all available GPUs, the remaining
GPUs score s(all) + s(S) - d(S). So among equals the set with the smallest d(S) wins.
"""

from collections.abc import Sequence

from plugins.gpu.discovery.facts import Ancestor, Link, Topology
from plugins.gpu.preference.partition import best_partition, set_score

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


def score(link: Link) -> int:
    """Return the score of a connection."""
    return ANCESTOR_SCORE[link.ancestor] + NVLINK_SCORE * link.nvlinks


def best_connected(topology: Topology, available: Sequence[str], required: Sequence[str], size: int) -> list[str]:
    """Choose the best set of GPUs of a size, including the required ones.

    Args:
        topology: How the GPUs are connected.
        available: Their UUIDs; earlier ones win among equals.
        required: Those among them that must be chosen.
        size: The size, from the number of required to the number of available ones.
    """
    if size == 0:
        return []
    pairs = [[score(topology.link(one, other)) if one != other else 0 for other in available] for one in available]
    fixed = tuple(number for number, uuid in enumerate(available) if uuid in set(required))
    sets = best_partition(pairs, fixed, size)
    candidates = [members for members in sets if len(members) == size and set(fixed) <= set(members)]
    costs = [sum(row) for row in pairs]
    best = max(
        candidates,
        key=lambda members: (
            set_score(pairs, members),
            -sum(costs[number] for number in members),
            [-number for number in members],
        ),
    )
    return [available[number] for number in best]
