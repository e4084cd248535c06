"""Unix sockets: their names, whether a process is listening on them, and which kubelet created one."""

import hashlib
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.base.errors import ConfigError
from hub.base.wording import counted

SOCKET_PATH_BYTES = 107
"""Maximum length in bytes of a unix socket's path: `sun_path` holds 108 bytes, the last one zero (man 7 unix)."""


KubeletIdentity = tuple[int, int, int]
"""Distinguishes one kubelet from the next: device, inode and change time (ns) of its socket. The inode number alone may
be reused by the next file."""


def kubelet_identity(path: Path) -> KubeletIdentity | None:
    """Return the identity of the kubelet that created this socket; None if there is no socket."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_ctime_ns) if stat.S_ISSOCK(found.st_mode) else None


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return what distinguishes a file from a later one at its path; None if there is none. Links are not followed."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_served(path: Path) -> bool:
    """Return whether a process is listening on a socket, however long its path is."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0)
        try:
            with _short(path) as address:
                client.connect(address)
        except BlockingIOError:
            # The listen backlog is full.
            return True
        except OSError:
            return False
        return True


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a path to the same file that fits in a socket's address."""
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        yield str(path)
        return
    file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)


_SUFFIX = ".sock"


_DIGEST_CHARACTERS = 7


def socket_name(resource: str, instance: str, directory: Path) -> str:
    """Return the file name of a resource's socket: readable, unique per resource and hub, and short enough.

    Neither a domain nor an instance contains an underscore, so the name stays unique when an underscore replaces the
    slash. A name that is too long is truncated, with a digest of the whole name at the end.

    Raises:
        ConfigError: the directory's path is too long even for a digest.
    """
    return _fitting(f"{instance}-{resource.replace('/', '_')}", directory)


def another_socket_name(name: str, number: int, directory: Path) -> str:
    """Return another file name for a resource's socket, as an alternative to this one in the same directory."""
    return _fitting(f"{name.removesuffix(_SUFFIX)}~{number}", directory)


def short_socket_name(stem: str, directory: Path) -> str:
    """Return the file name of a socket: the stem, truncated with a digest at its end if the path would be too long.

    Raises:
        ConfigError: the directory's path is too long even for a digest.
    """
    return _fitting(stem, directory)


def _fitting(stem: str, directory: Path) -> str:
    room = SOCKET_PATH_BYTES - len(os.fsencode(directory)) - len("/") - len(_SUFFIX)
    if len(stem) <= room:
        return stem + _SUFFIX
    if room < _DIGEST_CHARACTERS:
        raise ConfigError(
            directory, f"the path is {counted(_DIGEST_CHARACTERS - room, 'byte')} too long for a socket in it"
        )
    digest = _digest(stem)
    readable = stem[: max(0, room - len(digest) - len("~"))]
    return (f"{readable}~{digest}" if readable else digest) + _SUFFIX


def decoy_socket_name(name: str) -> str:
    """Return the file name of a second socket next to a resource's socket of this name."""
    return _digest(name) + _SUFFIX


_STEM_CHARACTERS = 240
"""A file name is at most 255 bytes long, and a resource's name up to 308 characters."""


def resource_file_stem(resource: str) -> str:
    """Return the prefix of the name of a file about a resource."""
    stem = resource.replace("/", "_")
    return stem if len(stem) <= _STEM_CHARACTERS else f"{stem[: _STEM_CHARACTERS - 8]}~{_digest(stem)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
