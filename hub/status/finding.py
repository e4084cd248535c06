"""Finds what a person means: a device, or the devices of a plugin or a resource."""

from collections.abc import Iterable, Iterator

from hub.errors import HubError
from hub.state import DeviceState
from hub.status.model import Condition, NodeStatus, PluginStatus, ResourceStatus

_SHORTEST = 8
"""Characters of the beginning of an id: "GPU-1" may be meant as a number, and begin the UUID of another GPU."""

_SHOWN = 8

GONE = "no longer offered, still held"
"""How a device is that a container has and its plugin does not offer any more."""

Key = tuple[str, str]
"""A plugin, and what it calls a physical device: its `physical`, or "RESOURCE ID" where it has none."""


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
    known = [(key, names, device) for key, names, device in _devices(status) if plugin in (None, key[0])]
    cordoned = [(each.name, key) for each in status.plugins if plugin in (None, each.name) for key in each.cordons]
    exact = dict.fromkeys([key for key, names, _ in known if said in names])
    exact |= dict.fromkeys(key for key in cordoned if said in (key[1], key[1].rpartition(" ")[2]))
    begun = {key: None for key, _, device in known if device.id.startswith(said)}
    found = list(exact or begun)
    shown = ", ".join(f"{key} of {name}" for name, key in found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    if found and not exact and len(said) < _SHORTEST:
        raise HubError(f"{said} is too little of an id, say {_SHORTEST} characters or more; it may be {shown}")
    if len(found) == 1:
        return found[0]
    if found:
        more = "say --plugin NAME" if len({name for name, _ in found}) > 1 else "say more"
        raise HubError(f"{said} is {len(found)} devices ({shown}); {more}")
    asked = [each for each in status.plugins if plugin in (None, each.name)]
    lacking = f"{plugin} has no device {said}" if plugin else f"there is no device {said}"
    raise HubError(f"{lacking}; dphub devices shows those there are{unknown(asked)}{elsewhere}")


def resources_of(status: NodeStatus, wanted: str | None) -> Iterator[tuple[str, ResourceStatus]]:
    """The resources of a plugin, or the one of a name, or all; each with its plugin."""
    for plugin in status.plugins:
        for resource in plugin.resources:
            if wanted in (None, plugin.name, resource.name):
                yield plugin.name, resource


def unknown(plugins: Iterable[PluginStatus]) -> str:
    """Whose devices nobody knows just now, to be added to a text; empty where that is nobody's."""
    silent = [plugin for plugin in plugins if not plugin.pid or plugin.condition is Condition.STARTING]
    return "".join(f"; {plugin.name} is {plugin.condition}, and its devices are not known" for plugin in silent)


def _devices(status: NodeStatus) -> Iterator[tuple[Key, set[str], DeviceState]]:
    """All devices, each with its key and what it may be called."""
    for plugin in status.plugins:
        for resource in plugin.resources:
            for device in resource.devices:
                whole = f"{resource.name} {device.id}"
                yield (plugin.name, device.physical or whole), {whole, *_names(device)}, device


def _names(device: DeviceState) -> set[str]:
    short = {address.removeprefix("0000:") for address in device.pci}
    return {device.id, device.physical, device.attributes.get("name", ""), *device.pci, *short} - {""}
