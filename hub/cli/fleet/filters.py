"""Filters for the lists over all nodes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from hub.model.history import Allocation, NodeHistory
from hub.model.node import Condition, NodeStatus, Problem
from hub.status.lookup import KnownDevice, health_of, matching_devices

HEALTH = ("healthy", "unhealthy", "recovering", "cordoned", "removed")

_SERVING = {Condition.REGISTERED, Condition.FAILING}


@dataclass(frozen=True)
class Filter:
    """What devices must match; an empty value matches all of them."""

    health: str = ""
    resource: str = ""
    namespace: str = ""
    """The namespace of the pod that uses the device."""

    @property
    def matches_all(self) -> bool:
        """Whether all devices match."""
        return self == Filter()

    def devices(self, status: NodeStatus) -> list[KnownDevice]:
        """List the devices of a node that match."""
        return [each for each in matching_devices(status) if self._matches(each)]

    def _matches(self, known: KnownDevice) -> bool:
        return (
            self.health in ("", health_of(known.device))
            and self.resource in ("", known.resource)
            and self.namespace in ("", namespace_of(known.device.holder))
        )

    def problems(self, status: NodeStatus) -> Iterator[Problem]:
        """Yield the problems of a node, or those of the plugins that have the resource, the worst first."""
        owners = {
            plugin.name
            for plugin in status.plugins
            if self.resource in ("", *(resource.name for resource in plugin.report.resources))
        }
        for problem in status.problems:
            if not self.resource or problem.about in owners:
                yield problem


class Holder(NamedTuple):
    """A container, and the devices of one resource that it uses on a node."""

    node: str
    container: str
    """The container, as "namespace/pod/container"."""
    resource: str
    devices: tuple[str, ...]


class NodeAllocation(NamedTuple):
    """An allocation on a node."""

    node: str
    plugin: str
    allocation: Allocation


def namespace_of(holder: str) -> str:
    """Return the namespace of a container that is written as "namespace/pod/container"."""
    return holder.partition("/")[0]


def holders(found: Iterable[tuple[str, NodeStatus]], wanted: Filter) -> list[Holder]:
    """List the containers that use devices, sorted by name."""
    used: dict[tuple[str, str, str], list[str]] = {}
    for node, status in found:
        for known in wanted.devices(status):
            if known.device.holder:
                used.setdefault((known.device.holder, node, known.resource), []).append(known.device.id)
    return [Holder(node, holder, name, tuple(used[holder, node, name])) for holder, node, name in sorted(used)]


def allocations(found: Iterable[tuple[str, NodeHistory]], wanted: Filter) -> list[NodeAllocation]:
    """List the allocations of all nodes, the latest first."""
    known = [
        NodeAllocation(node, plugin, allocation)
        for node, history in found
        for plugin, each in history.plugins.items()
        for allocation in each
        if wanted.resource in ("", allocation.resource) and wanted.namespace in ("", namespace_of(allocation.holder))
    ]
    return sorted(known, key=lambda each: -each.allocation.since)


def serving(status: NodeStatus) -> tuple[int, float]:
    """Rank the hubs of a node, which has several during an upgrade: by how many plugins serve, then by start time."""
    return sum(plugin.condition in _SERVING for plugin in status.plugins), status.hub.report.started
