"""What the generic plugin offers on a node that is a directory."""

from pathlib import Path

from hub import Allocation, Device, Excluded, Host, NoDevices, Runtime
from hub.api.settings import convert
from hub.plugin.classcheck.settings import settings_type
from plugins.generic.plugin import Generic


def plugin_for(root: Path, settings: object, runtime: Runtime | None = None) -> Generic:
    """Return the plugin with these settings."""
    return Generic(convert(settings, settings_type(Generic), "generic.yaml"), Host(root), runtime)


def resource(**keys: object) -> dict[str, object]:
    """Return settings with one resource."""
    return {"resources": [{"name": "example.com/x", **keys}]}


def scan(plugin: Generic) -> tuple[list[Device], dict[str, str]]:
    """Return the devices, and why others are excluded; if there is nothing at all, the reason has no name."""
    try:
        found = list(plugin.devices())
    except NoDevices as nothing:
        return [], {"": str(nothing)}
    devices = [each for each in found if isinstance(each, Device)]
    return devices, {each.id: each.reason for each in found if isinstance(each, Excluded)}


def devices(root: Path, settings: object) -> list[Device]:
    """Return the devices of a first scan."""
    return scan(plugin_for(root, settings))[0]


def files(device: Device) -> list[tuple[str, str, str]]:
    """Return what a container gets of a device: paths on the node and in the container, and permissions or ro."""
    given = Allocation.merge([device])
    nodes = [(str(node.host_path), str(node.container_path), node.permissions) for node in given.nodes]
    mounts = [(str(m.host_path), str(m.container_path), "ro" if m.read_only else "mount") for m in given.mounts]
    return [*nodes, *mounts]


def ids(root: Path, settings: object) -> list[str]:
    """Return the ids of the devices of a first scan."""
    return [device.id for device in devices(root, settings)]
