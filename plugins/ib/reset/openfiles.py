"""Find the processes that have device files open."""

import ctypes
import os
import re
import stat
import struct
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from hub import Host, UnreadableError, process_name, read_text

DeviceNumber = tuple[int, int]
"""The major and minor number of a device: the same for all its files, regardless of their names."""

_FIELDS = re.compile(rb"^(flags|mnt_id|ino):\s*([0-9]+)$", re.MULTILINE)
"""The fields of `/proc/PID/fdinfo/FD` for an open file (man 5 proc_pid_fdinfo); `ino` exists from Linux 5.14 on."""

_FDINFO_BYTES = 256
"""How much of that file to read: the fields are in its first four lines."""

_AT_FDCWD, _AT_STATX_DONT_SYNC, _STATX_MODE = -100, 0x4000, 0x3
_STATX_BYTES, _MODE_OFFSET, _NUMBER_OFFSET = 256, 28, 128
"""Size and offsets of `struct statx` (man 2 statx), in bytes; linux/stat.h."""

_KCMP = {"x86_64": 312, "aarch64": 272}.get(os.uname().machine)
_KCMP_FILES = 2
"""The system call kcmp, for which the C library has no function; linux/kcmp.h."""


def device_number(attribute: Path) -> DeviceNumber:
    """Read a device's number from its `dev` attribute in sysfs, such as "231:192".

    Raises:
        ValueError: the kernel does not show it.
    """
    try:
        major, _, minor = read_text(attribute).strip().partition(":")
        return int(major), int(minor)
    except UnreadableError as error:
        raise ValueError(str(error)) from None


_ROUNDS = 20
"""How many times to look for processes that were started during the search; each round takes milliseconds."""

_SEARCH_TIMEOUT = 3.0
"""Seconds to wait for the next file of a process; looking at one takes microseconds."""


def processes_with_open(host: Host, devices: Collection[DeviceNumber]) -> Iterator[str]:
    """Find processes that have one of these devices open or mapped, among those that this process can see.

    A process whose files cannot be read in time may have one open, so it is included. The search does not find files
    that are in no process's table of open files: those in transit through a socket, or registered with io_uring.
    """
    for process in _processes(host.path("/proc")):
        name = f"process {process.name} ({process_name(host, process.name) or 'unknown'})"
        match _holds(process, devices):
            case True:
                yield name
            case None:
                yield f"possibly {name}: the kernel did not show its files within {_SEARCH_TIMEOUT:g} s"


def _processes(directory: Path) -> Iterator[Path]:
    """Yield all processes, the newest first, then those that have been started since: a file may pass to a child."""
    seen: set[int] = set()
    for _ in range(_ROUNDS):
        found = {int(path.name): path for path in directory.glob("[0-9]*")}
        if not found.keys() - seen:
            return
        yield from (found[pid] for pid in sorted(found.keys() - seen, reverse=True))
        seen |= found.keys()


def _holds(process: Path, devices: Collection[DeviceNumber]) -> bool | None:
    """Return whether a process has one of these devices open or mapped; None if the kernel does not show it in time.

    While a process changes its address space, the kernel makes readers wait: forever if that call hangs, which a file
    system in user space can cause, and for seconds if it changes large mappings, regardless of the process's priority.
    A process with a very large number of files just takes a long time.
    """
    search = _Search(process, devices)
    search.start()
    before = -1
    while search.is_alive() and search.looked_at > before:
        before = search.looked_at
        search.join(_SEARCH_TIMEOUT)
    return search.found


class _Search(threading.Thread):
    """A thread that checks whether a process has one of these devices open or mapped."""

    def __init__(self, process: Path, devices: Collection[DeviceNumber]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._devices = devices
        self.looked_at = 0
        """How many files it has checked."""
        self.found: bool | None = None
        """The result; None until it is known."""

    def run(self) -> None:
        """Look at each file."""
        for link in _open_files(self._process):
            if _number(link) in self._devices and _is_open(link, self._devices):
                self.found = True
                return
            self.looked_at += 1
        self.found = False


def _open_files(process: Path) -> Iterator[str]:
    """Yield links to a process's open files, and to its mapped ones.

    A mapping keeps a file in use after its descriptor has been closed.
    """
    for thread in _threads(process):
        yield from _links(thread / "fd")
    # All threads have the same mappings. There can be tens of thousands, so they are not listed for each thread.
    for thread in _threads(process):
        yield from _links(thread / "map_files")
        if _has_memory(thread):
            return


def _threads(process: Path) -> Iterator[Path]:
    """Yield the first thread, and those whose open files may differ.

    A thread has a directory of its own alongside those of processes, although /proc does not list it.
    """
    yield process
    yield from (process.parent / thread for thread in _threads_apart(process))


def _has_memory(thread: Path) -> bool:
    """Return whether a thread still has its memory; if it has exited, its list of mappings may be incomplete."""
    try:
        return not read_text(thread / "statm").startswith("0 ")
    except UnreadableError:
        return False


def _threads_apart(process: Path) -> Iterator[str]:
    """Yield the threads whose open files may differ from those of the first one, which may even have exited first."""
    for link in _links(process / "task"):
        thread = Path(link).name
        if thread != process.name and not _share_files(int(process.name), int(thread)):
            yield thread


def _share_files(one: int, other: int) -> bool:
    """Return whether two threads certainly have the same table of open files (man 2 kcmp)."""
    return _KCMP is not None and _libc.syscall(_KCMP, one, other, _KCMP_FILES, 0, 0) == 0


def _links(directory: Path) -> Iterator[str]:
    # The listing ends early if the process has exited, or if this process may not inspect it.
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            yield entry.path


def _number(link: str) -> DeviceNumber | None:
    """Return the number of the device to which such a link leads; None if it leads to no device.

    This depends neither on the file's name, which any process can choose, nor on its file system: with `os.stat`, a
    file system in user space could make this process wait forever.
    """
    found = ctypes.create_string_buffer(_STATX_BYTES)
    if _libc.statx(_AT_FDCWD, os.fsencode(link), _AT_STATX_DONT_SYNC, _STATX_MODE, found):
        return None
    (mode,) = struct.unpack_from("=H", found, _MODE_OFFSET)
    major, minor = struct.unpack_from("=II", found, _NUMBER_OFFSET)
    return (major, minor) if stat.S_ISCHR(mode) else None


class _Descriptor(NamedTuple):
    """What the kernel shows about a descriptor."""

    only_names: bool
    """Whether it only names its file (O_PATH), which is possible even without permission to open that file.

    The permissions of the link do not show that: those of a file opened for neither reading nor writing are the same.
    """
    file: tuple[bytes | None, bytes | None]
    """Its file, by mount and inode: no other file has both while a descriptor holds this one."""


def _is_open(link: str, devices: Collection[DeviceNumber]) -> bool:
    """Return whether a file that was one of these devices a moment ago is mapped, or open under its number.

    By now, another file may be open under that number. So hold the file to which the link leads, and compare.
    """
    if "/fd/" not in link:
        return True
    try:
        if _descriptor(link).only_names:
            return False
        with _hold(link) as held:
            now = _descriptor(link)
            return _number(held) in devices and not now.only_names and now.file == _descriptor(held).file
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return True


@contextmanager
def _hold(link: str) -> Iterator[str]:
    """Hold the file to which a link leads during the block, without opening it, and return a link to it."""
    file = os.open(link, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)


def _descriptor(link: str) -> _Descriptor:
    directory, _, number = link.rpartition("/fd/")
    # `read_text` is not used: there may be a million descriptors, and the kernel writes this file.
    file = os.open(f"{directory}/fdinfo/{number}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fields = dict(_FIELDS.findall(os.read(file, _FDINFO_BYTES)))
    finally:
        os.close(file)
    flags = int(fields.get(b"flags", b"0"), 8)
    return _Descriptor(bool(flags & os.O_PATH), (fields.get(b"mnt_id"), fields.get(b"ino")))


_libc = ctypes.CDLL(None)
