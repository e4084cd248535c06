"""What the generic plugin offers on a node that is a directory."""

from contextlib import suppress
from pathlib import Path

from hub import Allocation, Device, Excluded, Host, NoDevices, Runtime, Unmatched
from hub.api.settings import convert
from plugins.generic.plugin import Generic
from plugins.generic.settings import GenericSettings


def plugin_for(root: Path, settings: object, runtime: Runtime | None = None) -> Generic:
    """Return the plugin with these settings."""
    content = {GenericSettings.list_key: settings} if isinstance(settings, list) else settings
    return Generic(convert(content, GenericSettings, "generic.yaml"), Host(root), runtime)


def resource(**keys: object) -> dict[str, object]:
    """Return settings with one resource."""
    return {"resources": [{"name": "example.com/x", **keys}]}


def scan(plugin: Generic) -> tuple[list[Device], dict[str, str]]:
    """Return the devices, and why others are excluded; by resource, also what matches nothing."""
    found: list[Device | Excluded | Unmatched] = []
    with suppress(NoDevices):
        found.extend(plugin.devices())
    reasons: dict[str, list[str]] = {}
    for each in found:
        if not isinstance(each, Device):
            reasons.setdefault(each.id if isinstance(each, Excluded) else each.resource, []).append(each.reason)
    devices = [each for each in found if isinstance(each, Device)]
    return devices, {name: "; ".join(all_reasons) for name, all_reasons in reasons.items()}


def devices(root: Path, settings: object) -> list[Device]:
    """Return the devices of a first scan."""
    return scan(plugin_for(root, settings))[0]


def files(device: Device) -> list[tuple[str, str, str]]:
    """Return what a container gets from a device: paths on the node and in the container, and permissions or ro."""
    given = Allocation.merge([device])
    nodes = [(str(node.host_path), str(node.container_path), node.permissions) for node in given.nodes]
    mounts = [(str(m.host_path), str(m.container_path), "ro" if m.read_only else "mount") for m in given.mounts]
    return [*nodes, *mounts]


def ids(root: Path, settings: object) -> list[str]:
    """Return the ids of the devices of a first scan."""
    return [device.id for device in devices(root, settings)]
