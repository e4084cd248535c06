"""The file in which the kubelet's device manager records which container has which devices.

When a kubelet starts, it learns the devices of its containers from this file alone: it has no pods yet, and its pod
resources API lists none. It writes the file after each allocation and for each list of devices that it receives, but
not when a pod ends: devices may remain in the file until it is written again.
"""

from collections.abc import Iterable, Mapping
from os import stat_result
from pathlib import Path

import msgspec

from hub.base.jsonfile import read_file
from hub.base.log import get_logger
from hub.base.untrusted import UnreadableError

CHECKPOINT = "kubelet_internal_checkpoint"

NO_NUMA_NODE = -1
"""The number that the kubelet writes for devices without a NUMA node."""

MAX_BYTES = 8 << 20
"""The largest checkpoint accepted: twice that of a node with a thousand pods and 16,384 devices. While it is decoded,
the smallest parts take sixteen times their size, in each plugin."""

MAX_NAMES = 65_536
"""The most names in all lists of a checkpoint. A node has at most tens of thousands of devices, and the plugin looks at
those that containers hold every five seconds."""

HeldDevices = Mapping[str, tuple[int, ...]]
"""The NUMA nodes that a device had when it was allocated, by device id."""


class _Entry(msgspec.Struct, rename="pascal"):
    """The devices of one resource that one container has."""

    resource_name: str
    device_ids: dict[int, list[str] | None] | None = msgspec.field(name="DeviceIDs")
    """Keyed by NUMA node; a device near several is in several lists."""


class _Data(msgspec.Struct, rename="pascal"):
    pod_device_entries: list[_Entry] | None


class _Checkpoint(msgspec.Struct, rename="pascal"):
    data: _Data


class Checkpoint:
    """The devices that containers hold, read again when the file has changed.

    Args:
        plugin_dir: The kubelet's plugin directory.
    """

    def __init__(self, plugin_dir: Path) -> None:
        self._path = plugin_dir / CHECKPOINT
        self._version: tuple[int, ...] | None = ()
        self._held: Mapping[str, HeldDevices] | None = {}
        self._log = get_logger()

    def held(self, resource: str) -> HeldDevices | None:
        """Return the devices of a resource that containers hold; None if that is unknown."""
        version = self._current_version()
        if version != self._version:
            self._version, self._held = version, self._read()
        return None if self._held is None else self._held.get(resource, {})

    def _current_version(self) -> tuple[int, ...] | None:
        try:
            return _version(self._path.lstat())
        except OSError:
            return None

    def _read(self) -> Mapping[str, HeldDevices] | None:
        try:
            checkpoint = read_file(self._path, _Checkpoint, max_bytes=MAX_BYTES)
            return _held(self._path, checkpoint.data.pod_device_entries or ()) if checkpoint else {}
        except UnreadableError as error:
            if self._held is not None:
                self._log.warning("checkpoint unreadable", path=str(self._path), reason=error.problem)
            return None


def _version(file: stat_result) -> tuple[int, ...]:
    return file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns


def _held(path: Path, entries: Iterable[_Entry]) -> Mapping[str, HeldDevices]:
    """Collect the devices of each resource.

    Raises:
        UnreadableError: there are more names than a kubelet would write.
    """
    count = 0
    nodes: dict[str, dict[str, set[int]]] = {}
    for entry in entries:
        held = nodes.setdefault(entry.resource_name, {})
        for node, names in (entry.device_ids or {}).items():
            count += len(names or ())
            if count > MAX_NAMES:
                raise UnreadableError(path, f"lists more than {MAX_NAMES} devices")
            for name in names or ():
                held.setdefault(name, set()).add(node)
    return {
        resource: {name: tuple(sorted(found - {NO_NUMA_NODE})) for name, found in held.items()}
        for resource, held in nodes.items()
    }
