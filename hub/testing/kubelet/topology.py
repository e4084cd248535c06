"""Chooses the NUMA nodes for a container's devices, as the kubelet's best-effort policy does. No input or output."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from hub.testing.kubelet.model import AdvertisedDevice

Devices = Mapping[str, Sequence[AdvertisedDevice]]
"""Devices by resource."""

MAX_NUMA_NODES = 8
"""With more nodes, the kubelet's topology manager does not start, because there are too many combinations."""


class _Hint(NamedTuple):
    nodes: frozenset[int]
    preferred: bool
    """Whether even an idle machine would need this many nodes."""


def affinity(known: Devices, free: Devices, sizes: Mapping[str, int]) -> frozenset[int]:
    """Return the NUMA nodes from which a container's devices should come; they may not have enough devices.

    Each resource with NUMA nodes contributes the sets of nodes that have enough devices. The sets are intersected in
    all combinations, and the best intersection wins (pkg/kubelet/cm/topologymanager, policy.go). The result is empty
    if there is nothing to align.
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
    """Return the devices that are near at least one of the nodes."""
    return [device for device in devices if nodes.intersection(device.numa)]


def _hints(
    masks: Sequence[frozenset[int]], known: Sequence[AdvertisedDevice], free: Sequence[AdvertisedDevice], size: int
) -> list[_Hint]:
    """Return the sets of nodes with enough free devices; the smallest that have enough in total are preferred."""
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
    """Return a sort key: preferred sets with few nodes first, then sets as large as the largest preferred one."""
    count = len(hint.nodes)
    wanted = 0 if hint.preferred else widest
    return not hint.preferred, count > wanted, abs(count - wanted), sum(1 << node for node in hint.nodes)
