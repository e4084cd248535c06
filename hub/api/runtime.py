"""Files and locks that a plugin shares with its resets, with its other processes, and with other plugins."""

import os
import time
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from hub.base import nodedir
from hub.base.jsonfile import read_file, replace_file
from hub.base.locks import is_locked, open_lock, try_lock, unlock

T = TypeVar("T")

POLL_INTERVAL = 0.02
"""Seconds between attempts: the kernel wakes only callers waiting for a lock without a timeout."""


class FileLock:
    """A lock on a file, which the kernel releases however the process exits.

    The file is created when the lock is first used, and stays open until `close` or the end of a `with` block. Never
    remove it: a lock on a removed file does not exclude other processes.

    Args:
        path: The file; its directory must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def acquire(self, *, shared: bool = False, timeout: float = 0) -> bool:
        """Lock the file, exclusively or shared.

        Args:
            shared: Whether others may hold a shared lock at the same time.
            timeout: Seconds to keep trying; with 0 there is one attempt.

        Returns:
            Whether the file is locked now.

        Raises:
            OSError: the file cannot be created.
        """
        end = time.monotonic() + timeout
        while not try_lock(self._file, shared=shared):
            if time.monotonic() >= end:
                return False
            time.sleep(POLL_INTERVAL)
        return True

    def release(self) -> None:
        """Unlock the file; do nothing if it is not locked."""
        unlock(self._file)

    @property
    def held_by_other(self) -> bool:
        """Whether another process, or another lock of this process, holds the file, exclusively or shared."""
        return is_locked(self._file)

    def close(self) -> None:
        """Release the lock and close the file; the lock can be used again."""
        if self._open is not None:
            os.close(self._open)
            self._open = None

    @property
    def _file(self) -> int:
        if self._open is None:
            self._open = open_lock(self._path)
        return self._open


class Runtime(msgspec.Struct, frozen=True):
    """The part of a hub's run directory that belongs to one plugin.

    Falsy if there is no run directory: in a plugin that was started by hand without one, and in `dphub check`.

    Args:
        run_dir: The hub's run directory; empty if there is none.
        instance: The name of the hub.
        plugin: The name of the plugin.
        is_check: Whether this is `dphub check` or another read-only command: the plugin must not run programs that its
            settings name.
    """

    run_dir: str = ""
    instance: str = ""
    plugin: str = ""
    is_check: bool = False

    def __bool__(self) -> bool:
        return bool(self.run_dir)

    def node_path(self, name: str, *, plugin: str = "") -> Path:
        """Return the path of a file that belongs to the node: it is kept when a hub exits or is replaced.

        Args:
            name: Distinguishes the file from other files of the plugin.
            plugin: The plugin that owns the file; by default this one.
        """
        return nodedir.node_path(Path(self.run_dir), plugin or self.plugin, name)

    def instance_path(self, name: str) -> Path:
        """Return the path of a file that belongs to one hub: a later hub removes it after this hub has exited."""
        return Path(self.run_dir, f"{self.instance}.{self.plugin}.{name}")

    def instance_paths(self, name: str) -> list[Path]:
        """Return the existing files of this name, of this plugin in all hubs that share the run directory."""
        return sorted(Path(self.run_dir).glob(f"*.{self.plugin}.{name}"))

    def lock(self, path: Path) -> FileLock:
        """Return a lock on one of these files."""
        return FileLock(path)

    def read(self, path: Path, kind: type[T]) -> T | None:
        """Return what `write` wrote into one of these files; None if there is no file.

        Raises:
            UnreadableError: the file cannot be read, or contains something else.
        """
        return read_file(path, kind)

    def write(self, path: Path, content: object) -> None:
        """Replace one of these files with an object as JSON; readers see the old or the new content, never a mixture.

        Raises:
            OSError: the file cannot be written.
        """
        replace_file(path, content)
