"""Finds what a person means: a device, or the devices of a plugin or a resource."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hub.base.errors import HubError
from hub.base.wording import counted, did_you_mean
from hub.model.node import Condition, NodeStatus, PluginStatus
from hub.model.plugin import DeviceStatus

_SHORTEST = 8
"""Characters of the beginning of an id: "GPU-1" may be meant as a number, and begin the UUID of another GPU."""

_SHOWN = 8

REMOVED_IN_USE = "no longer offered, still held"
"""How a device is that a container has and its plugin does not offer any more."""

Key = tuple[str, str]
"""A plugin, and what it calls a physical device: its `physical`, or "RESOURCE ID" where it has none."""


class KnownDevice(NamedTuple):
    """A device with everything that it may be called."""

    plugin: str
    resource: str
    device: DeviceStatus
    names: tuple[str, ...]
    """The first is the shortest that is certain: its physical device, its id, or "RESOURCE ID"."""

    @property
    def key(self) -> Key:
        """What its plugin calls the physical device."""
        return self.plugin, self.device.physical or f"{self.resource} {self.device.id}"


def find_device(status: NodeStatus, said: str, plugin: str | None = None, *, elsewhere: str = "") -> Key:
    """The one physical device that a text names.

    That is its id or the first eight or more characters of it, "RESOURCE ID", its physical device, its PCI address, or
    its name.

    Args:
        status: The node.
        said: The text.
        plugin: Look among the devices of this plugin only.
        elsewhere: Where else it may be, to be added to the text of an error.

    Raises:
        HubError: there is none, or more than one.
    """
    if not said.strip():
        raise HubError("the name of the device is empty; dphub devices shows those there are")
    known = [each for each in known_devices(status) if plugin in (None, each.plugin)]
    asked = [each for each in status.plugins if plugin in (None, each.name)]
    cordoned = [(each.name, key) for each in asked for key in each.report.cordons]
    exact = dict.fromkeys(each.key for each in known if said in each.names)
    exact |= dict.fromkeys(key for key in cordoned if said in (key[1], key[1].rpartition(" ")[2]))
    begun = dict.fromkeys(each.key for each in known if each.device.id.startswith(said))
    found = list(exact or begun)
    shown = ", ".join(f"{key} of {name}" for name, key in found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    if found and not exact and len(said) < _SHORTEST:
        raise HubError(f"{said} is too little of an id, say {_SHORTEST} characters or more; it may be {shown}")
    if len(found) == 1:
        return found[0]
    if found:
        more = "say --plugin NAME" if len({name for name, _ in found}) > 1 else "say more"
        raise HubError(f"{said} is {counted(len(found), 'device')} ({shown}); {more}")
    lacking = f"{plugin} has no device {said}" if plugin else f"there is no device {said}"
    meant = did_you_mean(said, display_names(known))
    left_out = excluded(asked, said)
    raise HubError(f"{lacking}{left_out}; dphub devices shows those there are{unknown(asked)}{elsewhere}{meant}")


def matching_devices(status: NodeStatus, wanted: str | None = None) -> list[KnownDevice]:
    """All devices, also those that are held and no longer offered.

    Args:
        status: The node.
        wanted: Only those of this plugin or resource, or else those that it names, or else whose id begins with it.
    """
    known = [*known_devices(status), *_removed(status)]
    if wanted is None:
        return known
    if wanted in group_names(status):
        return [each for each in known if wanted in (each.plugin, each.resource)]
    named = [each for each in known if wanted in each.names]
    return named or [each for each in known if wanted and each.device.id.startswith(wanted)]


def group_names(status: NodeStatus) -> list[str]:
    """The plugins, each with its resources after it."""
    return [
        name
        for plugin in status.plugins
        for name in (plugin.name, *(each.name for each in plugin.report.resources if each.name))
    ]


def known_devices(status: NodeStatus) -> Iterator[KnownDevice]:
    """All devices that are offered."""
    offered = [
        (plugin.name, resource.name, device)
        for plugin in status.plugins
        for resource in plugin.report.resources
        for device in resource.devices
    ]
    counts = Counter(device.id for _, _, device in offered)
    for plugin, resource, device in offered:
        whole = f"{resource} {device.id}"
        best = device.physical or (device.id if counts[device.id] == 1 else whole)
        short = [address.removeprefix("0000:") for address in device.pci]
        names = (best, device.id, device.attributes.get("name", ""), *device.pci, *short, whole)
        yield KnownDevice(plugin, resource, device, tuple(name for name in dict.fromkeys(names) if name))


def display_names(known: Iterable[KnownDevice]) -> Iterator[str]:
    """What devices are called in one word."""
    return (name for each in known for name in each.names if " " not in name)


def excluded(plugins: Iterable[PluginStatus], said: str) -> str:
    """Why something is not a device although it is there, to be added to a text; empty where it is not there."""
    reasons = [each.reason for plugin in plugins for each in plugin.report.excluded if each.id == said]
    return f": it is left out: {reasons[0]}" if reasons else ""


def _removed(status: NodeStatus) -> Iterator[KnownDevice]:
    """Those that a container holds and their plugin does not offer any more."""
    for plugin in status.plugins:
        for resource in plugin.report.resources:
            for name, holder in resource.removed_in_use.items():
                device = DeviceStatus(name, healthy=False, health="unhealthy", reason=REMOVED_IN_USE, holder=holder)
                yield KnownDevice(plugin.name, resource.name, device, (name, f"{resource.name} {name}"))


def unknown(plugins: Iterable[PluginStatus]) -> str:
    """Whose devices nobody knows just now, to be added to a text; empty where that is nobody's."""
    silent = [plugin for plugin in plugins if not plugin.process.pid or plugin.condition is Condition.STARTING]
    return "".join(
        f"; {plugin.name} is {plugin.condition}, and its devices are not known{_starting(plugin)}" for plugin in silent
    )


def _starting(plugin: PluginStatus) -> str:
    """How to start a plugin that is stopped, to be added to a text."""
    return f" (dphub start {plugin.name} starts it)" if plugin.condition is Condition.STOPPED else ""
