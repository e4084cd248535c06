"""Find the processes that have device files open."""

import ctypes
import os
import stat
import struct
from collections.abc import Collection, Iterator
from pathlib import Path

from hub import Host, UnreadableError, read_text

DeviceNumber = tuple[int, int]
"""The major and minor number of a device: the same for all its files, whatever their names are."""

_AT_FDCWD, _AT_STATX_DONT_SYNC, _STATX_MODE = -100, 0x4000, 0x3
_STATX_BYTES, _MODE_OFFSET, _NUMBER_OFFSET = 256, 28, 128
"""Of `struct statx` (man 2 statx); linux/stat.h."""


def device_number(attribute: Path) -> DeviceNumber:
    """Read a device's number from its attribute `dev` in sysfs, such as "231:192".

    Raises:
        ValueError: the kernel does not show it.
    """
    try:
        major, _, minor = read_text(attribute).strip().partition(":")
        return int(major), int(minor)
    except UnreadableError as error:
        raise ValueError(str(error)) from None


def processes_with_open(host: Host, devices: Collection[DeviceNumber]) -> Iterator[str]:
    """Find processes that have one of these devices open, among those that this process can see."""
    for process in host.path("/proc").glob("[0-9]*"):
        if any(_opened(link) in devices for link in _links(process / "fd")):
            yield f"process {process.name} ({_name(process)})"


def _links(directory: Path) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(directory)]
    except OSError:
        # The process has ended, or this one may not inspect it.
        return []


def _opened(link: str) -> DeviceNumber | None:
    """Return the number of the device that a link in /proc/PID/fd stands for; None if it is not one.

    This depends neither on the file's name, which any process can choose, nor on its file system: with `os.stat`, a
    file system in user space could make this process wait forever.
    """
    found = ctypes.create_string_buffer(_STATX_BYTES)
    if _libc.statx(_AT_FDCWD, os.fsencode(link), _AT_STATX_DONT_SYNC, _STATX_MODE, found):
        return None
    (mode,) = struct.unpack_from("=H", found, _MODE_OFFSET)
    major, minor = struct.unpack_from("=II", found, _NUMBER_OFFSET)
    return (major, minor) if stat.S_ISCHR(mode) else None


def _name(process: Path) -> str:
    try:
        return read_text(process / "comm", errors="backslashreplace").strip()
    except UnreadableError:
        return "unknown"


_libc = ctypes.CDLL(None)
