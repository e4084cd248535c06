"""Finds the device that a person means."""

from collections.abc import Iterator

from hub.errors import HubError
from hub.state import DeviceState
from hub.status.model import NodeStatus

_SHORTEST = 4
_SHOWN = 8

Key = tuple[str, str]
"""A plugin, and what it calls a physical device: its `physical`, or "RESOURCE ID" where it has none."""


def find_device(status: NodeStatus, said: str, plugin: str | None = None) -> Key:
    """The one physical device that a text names.

    That is its id or the beginning of it, its physical device, its PCI address, or its name.

    Args:
        status: The node.
        said: The text.
        plugin: Look among the devices of this plugin only.

    Raises:
        HubError: there is none, or more than one.
    """
    known = [(key, device) for key, device in _devices(status) if plugin in (None, key[0])]
    cordoned = [(each.name, key) for each in status.plugins if plugin in (None, each.name) for key in each.cordons]
    exact = dict.fromkeys([key for key, device in known if said in _names(key, device)])
    exact |= dict.fromkeys(key for key in cordoned if said in (key[1], key[1].rpartition(" ")[2]))
    begun = {key: None for key, device in known if len(said) >= _SHORTEST and device.id.startswith(said)}
    found = list(exact or begun)
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(f"{key} of {name}" for name, key in found[:_SHOWN])
        raise HubError(f"{said} is {len(found)} devices ({shown}{', ...' if len(found) > _SHOWN else ''}); say more")
    raise HubError(f"there is no device {said}; dphub devices shows those there are")


def _devices(status: NodeStatus) -> Iterator[tuple[Key, DeviceState]]:
    for plugin in status.plugins:
        for resource in plugin.resources:
            for device in resource.devices:
                yield (plugin.name, device.physical or f"{resource.name} {device.id}"), device


def _names(key: Key, device: DeviceState) -> set[str]:
    short = {address.removeprefix("0000:") for address in device.pci}
    return {key[1], device.id, device.physical, device.attributes.get("name", ""), *device.pci, *short} - {""}
