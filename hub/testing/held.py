"""Directories and sockets that a program under test may replace with a link.

A plugin in a container is root there. If the directory above its plugin directory is mounted too, it can replace the
plugin directory with a link to any directory on the node. A check that runs as root would then delete sockets there, or
allocate the devices of another plugin.
"""

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from hub.base.errors import ConfigError

_MODE = 0o750


class HeldDirectory:
    """A directory that is used through a descriptor: it stays the same, whatever takes its place.

    Links are followed when the object is created, and never later.

    Args:
        path: Its path; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._actual = path.resolve()
        self._descriptor: int | None = None

    @property
    def descriptor_path(self) -> Path:
        """The path, for this process only, of the directory that was opened last."""
        if self._descriptor is None:
            raise RuntimeError(f"{self.path} is not open")
        return Path(f"/proc/self/fd/{self._descriptor}")

    def open(self) -> None:
        """Open what is at the path now, or create it.

        Raises:
            ConfigError: a link has taken its place, or that of a directory above it.
            OSError: it cannot be opened or created.
        """
        descriptor = _open_or_create(self._actual)
        if self._descriptor is None:
            self._descriptor = descriptor
        else:
            # Under the same number, which is in the paths that callers already have.
            os.dup2(descriptor, self._descriptor, inheritable=False)
            os.close(descriptor)

    def close(self) -> None:
        """Close it, if it is open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        """Remove what is at the path now, with everything in it.

        Raises:
            ConfigError: a link has taken the place of a directory above it.
            OSError: it cannot be removed.
        """
        above = open_without_links(self._actual.parent)
        # Renamed first: a plugin that serves again at this moment would create its socket in what is being deleted.
        removed = f"{self._actual.name}.removed"
        try:
            os.rename(self._actual.name, removed, src_dir_fd=above, dst_dir_fd=above)
            shutil.rmtree(removed, ignore_errors=True, dir_fd=above)
        finally:
            os.close(above)


class HeldSocket:
    """A socket that is used through a descriptor: it stays the same, whatever takes its place.

    A plugin that another user started could put a link to any socket there, and the check would allocate the devices of
    another plugin.

    Args:
        path: Its path.

    Raises:
        OSError: there is no socket, or a link to one.
        ValueError: no file can have this path.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._found = os.fstat(self._descriptor)
        if not stat.S_ISSOCK(self._found.st_mode):
            self.close()
            raise FileNotFoundError(f"{path} is not a socket")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def descriptor_path(self) -> Path:
        """The path, for this process only, of the socket that was opened."""
        if self._descriptor is None:
            raise RuntimeError(f"{self._path} is not open")
        return Path(f"/proc/self/fd/{self._descriptor}")

    @property
    def is_in_place(self) -> bool:
        """Whether its path still leads to this socket."""
        try:
            return os.path.samestat(self._found, self._path.lstat())
        except OSError:
            return False

    def close(self) -> None:
        """Close it, if it is open. After that, its `descriptor_path` may lead to a different file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def open_without_links(path: Path) -> int:
    """Open a directory, and return its descriptor, which can be used only to reach the files in it.

    Raises:
        ConfigError: part of the path is a link.
        OSError: it is missing, or not a directory.
    """
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    actual = Path(f"/proc/self/fd/{descriptor}").readlink()
    if actual != path:
        os.close(descriptor)
        raise ConfigError(path, f"the path contains a link to {actual}; use a path without links")
    return descriptor


def _open_or_create(path: Path) -> int:
    try:
        return open_without_links(path)
    except FileNotFoundError:
        above = _open_or_create(path.parent)
    try:
        # A plugin may create it at the same moment.
        with suppress(FileExistsError):
            os.mkdir(path.name, _MODE, dir_fd=above)
    finally:
        os.close(above)
    return open_without_links(path)
