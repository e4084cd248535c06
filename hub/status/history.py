"""Finds what a user looks for in the history: the allocations of a device, or those of a pod."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hub.base.errors import HubError
from hub.base.jsonfile import read_file
from hub.base.paths import RunDir
from hub.base.wording import did_you_mean
from hub.model.history import Allocation, AllocationHistory
from hub.model.node import NodeStatus
from hub.status.lookup import display_names, group_names, matching_devices


class KnownAllocation(NamedTuple):
    """An allocation, and the plugin whose device it is."""

    plugin: str
    allocation: Allocation


def read_history(run_dir: RunDir, plugin: str) -> list[KnownAllocation]:
    """Read the history of one plugin; it is empty before the first allocation.

    Raises:
        UnreadableError: the file cannot be read.
    """
    history = read_file(run_dir.history(plugin), AllocationHistory) or AllocationHistory()
    return [KnownAllocation(plugin, each) for each in history.allocations]


def matching_allocations(
    status: NodeStatus, known: Iterable[KnownAllocation], wanted: str | None
) -> list[KnownAllocation]:
    """List allocations, the latest first.

    Args:
        status: The status of the node, with the names of its current devices.
        known: All allocations.
        wanted: A plugin, a resource, a device by any of its names, a prefix of an id, or a pod as "POD",
            "NAMESPACE/POD" or "NAMESPACE/POD/CONTAINER"; all allocations if it is None.

    Raises:
        HubError: there is nothing with this name, either now or in the history.
    """
    latest = sorted(known, key=lambda each: each.allocation.since, reverse=True)
    if wanted is None:
        return latest
    present = matching_devices(status, wanted)
    devices = {(each.plugin, each.resource, each.device.id) for each in present}
    # The shares that a device had in the past match, too.
    devices |= {(each.plugin, "", each.device.id) for each in present}
    found = [each for each in latest if wanted in _names(each) or not devices.isdisjoint(_devices(each))]
    found = found or [each for each in latest if wanted and each.allocation.device.startswith(wanted)]
    if found or devices or wanted in group_names(status):
        return found
    pods = (each.allocation.holder.split("/")[1:2] for each in latest)
    meant = did_you_mean(wanted, (*display_names(matching_devices(status)), *(pod for (pod,) in pods)))
    raise HubError(f"there is no device {wanted}, and the history has no device or pod of that name{meant}")


def _devices(known: KnownAllocation) -> Iterator[tuple[str, str, str]]:
    """Yield the device with its resource, and the device of which it was a share, whose resource may be different."""
    yield known.plugin, known.allocation.resource, known.allocation.device
    yield known.plugin, "", known.allocation.physical


def _names(known: KnownAllocation) -> Iterator[str]:
    each = known.allocation
    yield from (known.plugin, each.resource, each.device, each.physical, f"{each.resource} {each.device}")
    yield from (each.holder, each.holder.rpartition("/")[0], *each.holder.split("/")[1:2])
