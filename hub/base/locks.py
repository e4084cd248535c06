"""Locks on files. The kernel gives them back however a process ends, and others can ask about them without taking them.

They belong to the open file, not to the process (open file description locks, man 2 fcntl).
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager


def open_lock(path: str | os.PathLike[str]) -> int:
    """A file to lock, made if missing.

    Raises:
        OSError: it cannot be made.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def existing_lock(path: str | os.PathLike[str]) -> Iterator[int]:
    """A file to lock that is there already; what the block locks is free again after it.

    Raises:
        OSError: it is not there, or cannot be opened.
    """
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def try_lock(file: int, *, shared: bool = False) -> bool:
    """Lock a file, alone or with others; whether that was possible at once."""
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _request(fcntl.F_RDLCK if shared else fcntl.F_WRLCK))
    except (BlockingIOError, PermissionError):
        return False
    return True


def unlock(file: int) -> None:
    """Let go of a file."""
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, _request(fcntl.F_UNLCK))


def is_locked(file: int) -> bool:
    """Whether somebody else has locked a file, alone or with others."""
    answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _request(fcntl.F_WRLCK))
    return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)


def _request(kind: int) -> bytes:
    """`struct flock` for the whole file."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)
