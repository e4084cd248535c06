"""Locks on files, which the kernel releases however a process exits, and which can be tested without being taken.

They belong to the open file, not to the process (open file description locks, man 2 fcntl).
"""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.base.removal import clear_path_for_file


def open_lock(path: str | os.PathLike[str]) -> int:
    """Open a file to lock, and create it if missing; replace anything else in its place.

    Raises:
        OSError: it cannot be created.
    """
    # Otherwise, nothing would ever remove a file that no process can lock.
    clear_path_for_file(Path(path))
    return _open(path, os.O_RDWR | os.O_CREAT)


@contextmanager
def existing_lock(path: str | os.PathLike[str], *, writable: bool = False) -> Iterator[int]:
    """Open an existing file to test whether it is locked, or to lock it; the end of the block releases that lock.

    Unless `writable` is set, this also works on a read-only mount.

    Args:
        path: The file.
        writable: Whether it is to be locked exclusively. Closing it then counts as a change for processes that watch
            the file.

    Raises:
        OSError: it does not exist, cannot be opened, or is not a regular file.
    """
    file = _open(path, os.O_RDWR if writable else os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def try_lock(file: int, *, shared: bool = False) -> bool:
    """Try to lock a file, exclusively or shared, without waiting; return whether it is locked."""
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _request(fcntl.F_RDLCK if shared else fcntl.F_WRLCK))
    except (BlockingIOError, PermissionError):
        return False
    return True


def unlock(file: int) -> None:
    """Unlock a file."""
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, _request(fcntl.F_UNLCK))


def is_locked(file: int) -> bool:
    """Return whether another open file holds a lock on this file, exclusively or shared."""
    answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _request(fcntl.F_WRLCK))
    return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)


def _open(path: str | os.PathLike[str], flags: int) -> int:
    # What is there may be a pipe, which could block, or a link to another file.
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def _request(kind: int) -> bytes:
    """Return a `struct flock` for the whole file."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)
