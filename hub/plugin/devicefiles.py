"""Device files that devices name and the node does not have."""

from collections.abc import Iterable
from os import fspath
from pathlib import Path

from hub.plugin.device import Device
from hub.plugin.host import Host

DEVICE_FILES = "/dev"


def missing_files(host: Host, devices: Iterable[Device]) -> list[str]:
    """A warning for each device that names a file below /dev that is not there: no container with it can start.

    The health of such a device stays what its plugin says. Other paths are not looked at: a pod of the hub sees all of
    the node's /dev, and only some of its other directories.

    Args:
        host: The node.
        devices: Valid ones.
    """
    if not host.path(DEVICE_FILES).is_dir():
        return []
    found = ((device, _missing(host, device)) for device in devices)
    return [
        f"device {device.id!r}: {', '.join(missing)} does not exist, no container with this device can start"
        for device, missing in found
        if missing
    ]


def _missing(host: Host, device: Device) -> list[str]:
    paths = dict.fromkeys(fspath(node.host_path) for node in device.nodes)
    return [path for path in paths if path.startswith(f"{DEVICE_FILES}/") and not _is_there(host.path(path))]


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        # It cannot be seen, which says nothing about it.
        return True
    return True
