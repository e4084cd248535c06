"""Finds what a user names: one device, or the devices of a plugin or a resource."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from typing import NamedTuple

from hub.base.errors import HubError
from hub.base.wording import counted, did_you_mean
from hub.model.node import Condition, NodeStatus, PluginStatus
from hub.model.plugin import CORDON_SOURCES, DeviceStatus

_SHORTEST = 8
"""Minimum length of an abbreviated id: "GPU-1" may mean GPU number 1, but also match another GPU's UUID."""

_SHOWN = 8

REMOVED_IN_USE = "removed by the plugin, still in use"
"""The reason shown for a device that a container still uses but that its plugin no longer offers."""

Key = tuple[str, str]
"""A plugin, and its name for a physical device: the device's `physical`, or "RESOURCE ID" if it has none."""


class KnownDevice(NamedTuple):
    """A device with all its names."""

    plugin: str
    resource: str
    device: DeviceStatus
    names: tuple[str, ...]
    """The first is the shortest unique name: the physical device, the id, or "RESOURCE ID"."""

    @property
    def key(self) -> Key:
        """The plugin's name for the physical device."""
        return self.plugin, self.device.physical or f"{self.resource} {self.device.id}"


def find_device(status: NodeStatus, name: str, plugin: str | None = None, *, elsewhere: str = "") -> Key:
    """Find the one physical device that has the name that a user typed.

    Args:
        status: The node.
        name: The name; see `DeviceIndex.find`.
        plugin: Search only the devices of this plugin.
        elsewhere: Where else the device may be, for the text of an error.

    Raises:
        UnknownDeviceError: there is no such device. The text suggests similar names.
        HubError: there is more than one.
    """
    index = DeviceIndex(status, plugin)
    try:
        return index.find(name)
    except UnknownDeviceError as error:
        meant = did_you_mean(name, display_names(index.known))
        raise UnknownDeviceError(f"{error}{elsewhere}{meant}") from None


class UnknownDeviceError(HubError):
    """No device has this name."""


class DeviceIndex:
    """Finds devices by name in an index: each lookup is fast, however many names are looked up.

    Args:
        status: The node.
        plugin: Search only the devices of this plugin.

    Attributes:
        known: The devices.
    """

    def __init__(self, status: NodeStatus, plugin: str | None = None) -> None:
        self.known = [each for each in known_devices(status) if plugin in (None, each.plugin)]
        self._plugin = plugin
        self._plugins = [each for each in status.plugins if plugin in (None, each.name)]
        self._keys: dict[str, dict[Key, None]] = {}
        for each in self.known:
            self._add(each.names, each.key)
        # Cordoned devices may be absent at the moment.
        for owner in self._plugins:
            for key in owner.report.cordons:
                self._add((key, key.rpartition(" ")[2]), (owner.name, key))
        self._ids = sorted((each.device.id, number) for number, each in enumerate(self.known))

    def _add(self, names: Iterable[str], key: Key) -> None:
        for name in names:
            self._keys.setdefault(name, {})[key] = None

    def find(self, name: str) -> Key:
        """Find the one physical device that has a name.

        The name is the device's id or the first eight or more characters of it, "RESOURCE ID", its physical device, its
        PCI address, or its `name`.

        Raises:
            UnknownDeviceError: there is no such device.
            HubError: the name is empty or too short, or there is more than one such device.
        """
        if not name.strip():
            raise HubError("the device name is empty; dphub devices lists the devices")
        exact = list(self._keys.get(name, ()))
        found = exact or self._beginning_with(name)
        shown = ", ".join(f"{key} of {owner}" for owner, key in found[:_SHOWN])
        shown += ", ..." if len(found) > _SHOWN else ""
        if found and not exact and len(name) < _SHORTEST:
            raise HubError(
                f"{name} is too short, expected at least {_SHORTEST} characters of an id; it matches {shown}"
            )
        if len(found) > 1:
            more = "add --plugin NAME" if len({owner for owner, _ in found}) > 1 else "give a longer or more exact name"
            raise HubError(f"{name} matches {counted(len(found), 'device')} ({shown}); {more}")
        if found:
            return found[0]
        missing = f"{self._plugin} has no device {name}" if self._plugin else f"there is no device {name}"
        listed = f"dphub devices lists the devices{unknown(self._plugins)}"
        raise UnknownDeviceError(f"{missing}{excluded(self._plugins, name)}; {listed}")

    def _beginning_with(self, name: str) -> list[Key]:
        """List the devices whose id begins with a name, in the order of the plugins' lists."""
        first = bisect_left(self._ids, (name, 0))
        matching = takewhile(lambda each: each[0].startswith(name), islice(self._ids, first, None))
        return list(dict.fromkeys(self.known[number].key for _, number in sorted(matching, key=lambda each: each[1])))


def matching_devices(status: NodeStatus, wanted: str | None = None) -> list[KnownDevice]:
    """List devices, including those that were removed but are still in use.

    Args:
        status: The node.
        wanted: A plugin, a resource, the name of a device, or a prefix of an id; all devices if it is None.
    """
    known = [*known_devices(status), *_removed(status)]
    if wanted is None:
        return known
    if wanted in group_names(status):
        return [each for each in known if wanted in (each.plugin, each.resource)]
    named = [each for each in known if wanted in each.names]
    return named or [each for each in known if wanted and each.device.id.startswith(wanted)]


def group_names(status: NodeStatus) -> list[str]:
    """List the plugins, each followed by its resources."""
    return [
        name
        for plugin in status.plugins
        for name in (plugin.name, *(each.name for each in plugin.report.resources if each.name))
    ]


def known_devices(status: NodeStatus) -> Iterator[KnownDevice]:
    """Iterate over all devices that plugins offer."""
    offered = [
        (plugin.name, resource.name, device)
        for plugin in status.plugins
        for resource in plugin.report.resources
        for device in resource.devices
    ]
    counts = Counter(device.id for _, _, device in offered)
    for plugin, resource, device in offered:
        full = f"{resource} {device.id}"
        best = device.physical or (device.id if counts[device.id] == 1 else full)
        short = [address.removeprefix("0000:") for address in device.pci]
        names = (best, device.id, device.attributes.get("name", ""), *device.pci, *short, full)
        yield KnownDevice(plugin, resource, device, tuple(name for name in dict.fromkeys(names) if name))


def health_of(device: DeviceStatus) -> str:
    """Describe a device's health in one word: healthy, unhealthy, recovering, cordoned or removed."""
    if device.healthy:
        return "healthy"
    if device.reason == REMOVED_IN_USE:
        return "removed"
    return device.health if device.source not in CORDON_SOURCES else "cordoned"


def display_names(known: Iterable[KnownDevice]) -> Iterator[str]:
    """Iterate over those names of devices that consist of one word."""
    return (name for each in known for name in each.names if " " not in name)


def excluded(plugins: Iterable[PluginStatus], name: str) -> str:
    """Return, as a suffix for a message, why something that exists is not a device; empty if it does not exist."""
    reasons = [each.reason for plugin in plugins for each in plugin.report.excluded if each.id == name]
    return f": it is excluded: {reasons[0]}" if reasons else ""


def _removed(status: NodeStatus) -> Iterator[KnownDevice]:
    """Iterate over the devices that a container still uses but that their plugin no longer offers."""
    for plugin in status.plugins:
        for resource in plugin.report.resources:
            for name, holder in resource.removed_in_use.items():
                device = DeviceStatus(name, healthy=False, health="unhealthy", reason=REMOVED_IN_USE, holder=holder)
                yield KnownDevice(plugin.name, resource.name, device, (name, f"{resource.name} {name}"))


def unknown(plugins: Iterable[PluginStatus]) -> str:
    """Name the plugins whose devices are currently unknown, as a suffix for a message; empty if there are none.

    Plugins that do not start with the hub are left out: most nodes do not have their devices.
    """
    asked = [each for each in plugins if not each.is_off]
    silent = [each for each in asked if not each.process.pid or each.condition is Condition.STARTING]
    return "".join(f"; the devices of {each.name} are unknown ({each.condition}{_start(each)})" for each in silent)


def _start(plugin: PluginStatus) -> str:
    """Say how to start a plugin that is stopped, as a suffix for a message."""
    return f"; start it with dphub start {plugin.name}" if plugin.condition is Condition.STOPPED else ""
