"""Near which NUMA nodes a container's devices should be: the kubelet's best-effort policy. No input or output."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from hub.testing.kubelet.model import AdvertisedDevice

Devices = Mapping[str, Sequence[AdvertisedDevice]]
"""By resource."""

MAX_NUMA_NODES = 8
"""With more, the kubelet's topology manager refuses to work: the combinations are too many."""


class _Hint(NamedTuple):
    nodes: frozenset[int]
    preferred: bool
    """Whether it would take no fewer nodes on an idle machine."""


def affinity(known: Devices, free: Devices, sizes: Mapping[str, int]) -> frozenset[int]:
    """The NUMA nodes on which a container's devices should be; there may be too few on them.

    Every resource with NUMA nodes names the sets of nodes that would do, the sets are intersected in all combinations,
    and the best intersection wins (pkg/kubelet/cm/topologymanager, policy.go). Empty where there is nothing to align.
    """
    aligning = {resource for resource in sizes if any(device.numa for device in known[resource])}
    nodes = sorted({node for resource in aligning for device in known[resource] for node in device.numa})
    if not nodes or len(nodes) > MAX_NUMA_NODES:
        return frozenset()
    everywhere = frozenset(nodes)
    masks = [frozenset(mask) for count in range(1, len(nodes) + 1) for mask in combinations(nodes, count)]
    merged = {_Hint(everywhere, preferred=True)}
    widest = 0
    for resource in aligning:
        hints = _hints(masks, known[resource], free[resource], sizes[resource])
        widest = max([widest, *(len(hint.nodes) for hint in hints if hint.preferred)])
        merged = _intersections(merged, hints or [_Hint(everywhere, preferred=False)])
    return min(merged, key=lambda hint: _rank(hint, widest)).nodes if merged else everywhere


def on_nodes(devices: Iterable[AdvertisedDevice], nodes: frozenset[int]) -> list[AdvertisedDevice]:
    """The devices that are near one of the nodes at least."""
    return [device for device in devices if nodes.intersection(device.numa)]


def _hints(
    masks: Sequence[frozenset[int]], known: Sequence[AdvertisedDevice], free: Sequence[AdvertisedDevice], size: int
) -> list[_Hint]:
    """The sets of nodes that have enough free devices; preferred are the smallest that could ever have enough."""
    least = min((len(mask) for mask in masks if len(on_nodes(known, mask)) >= size), default=0)
    return [_Hint(mask, len(mask) == least) for mask in masks if len(on_nodes(free, mask)) >= size]


def _intersections(some: Iterable[_Hint], others: Iterable[_Hint]) -> set[_Hint]:
    others = list(others)
    return {
        _Hint(one.nodes & other.nodes, one.preferred and other.preferred)
        for one in some
        for other in others
        if one.nodes & other.nodes
    }


def _rank(hint: _Hint, widest: int) -> tuple[bool, bool, int, int]:
    """Smaller is better: preferred and few nodes; else about as many as the most demanding resource prefers."""
    count = len(hint.nodes)
    wanted = 0 if hint.preferred else widest
    return not hint.preferred, count > wanted, abs(count - wanted), sum(1 << node for node in hint.nodes)
