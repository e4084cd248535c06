"""Device files that devices name but that the node does not have."""

from collections.abc import Iterable, Sequence
from os import fspath
from pathlib import Path

from hub.api.device import Device
from hub.api.host import Host
from hub.base.wording import first_of

DEVICE_FILES = "/dev"

_MAX_NAMES = 4


def missing_files(host: Host, devices: Iterable[Device]) -> list[str]:
    """Return a warning for each device file that the node does not have: containers that use it cannot start.

    The file's path is below /dev and does not exist, or is valid only in this process.

    The health of the devices remains as their plugin reports it. Other paths are not checked: the hub's pod sees all of
    the node's /dev, and only some of its other directories.

    Args:
        host: The node.
        devices: Valid devices.
    """
    if not host.path(DEVICE_FILES).is_dir():
        return []
    users: dict[str, dict[str, None]] = {}
    for device in devices:
        for node in device.nodes:
            users.setdefault(fspath(node.host_path), {})[device.id] = None
    missing = {
        path: list(names)
        for path, names in users.items()
        if path.startswith(f"{DEVICE_FILES}/") and not _exists(host.path(path))
    }
    return [
        f"{path} does not exist, so no container with device {_named(names)} can start"
        for path, names in missing.items()
    ] + [
        f"{path} is where this process sees a file on the node, not its path on the node, so no container with device "
        f"{_named(list(names))} can start: name the node's own path, /{Path(path).relative_to(host.root)}"
        for path, names in users.items()
        if _is_below(host.root, path)
    ]


def _is_below(root: Path, path: str) -> bool:
    return root != Path("/") and Path(path).is_relative_to(root)


def _named(names: Sequence[str]) -> str:
    return first_of(names, _MAX_NAMES, "or")


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        # Another error, such as a missing permission, does not mean that the file is missing.
        return True
    return True
