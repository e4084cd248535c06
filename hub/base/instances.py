"""The hubs on a node: normally one, briefly two or more during a rolling upgrade.

A running hub holds a lock file in the run directory that contains its start time. So each hub knows the others, and
all know which of them is newer. A hub that runs as the node's systemd service ("the node's service") counts as newer
than any other. Each plugin holds such a file too from the moment it begins to serve until it leaves its devices to
another hub or exits, because the plugin of a new hub may not be serving yet. The file of a hub or plugin that has
exited remains as a trace.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hub.base.errors import ConfigError, HubError
from hub.base.locks import existing_lock, is_locked, open_lock, try_lock, unlock
from hub.base.paths import INSTANCE_NAME, RunDir
from hub.base.removal import make_directory
from hub.base.ticks import sleep_until_tick
from hub.base.untrusted import UnreadableError, read_text

LOCK_TIMEOUT = 1.0
"""Seconds to wait for the lock: a hub that removes the files of an exited hub holds that hub's lock for a moment."""

KEEP_SECONDS = 5.0
"""Seconds between checks that a lock file still exists."""

_POLL = 0.02

_SERVICE = "service"
"""The mark of the node's service in its lock file."""


class AlreadyRunningError(HubError):
    """Another hub of the same name is using the run directory."""


class Instance(NamedTuple):
    """A hub, or a plugin of a hub. Instances sort by precedence: of several, the last one owns the devices."""

    is_service: bool
    """Whether the hub is the node's service."""
    since: int
    """Start time in nanoseconds since boot, which clock adjustments do not change; 0 if it has not been written yet."""
    name: str
    """The hub's name."""
    is_running: bool


class HeldLock:
    """The lock file of a running process, with its start time; the kernel releases it however the process exits.

    Another process may remove or replace the file, which then no longer shows that this process is running.

    Args:
        path: The file.
        shared: Whether several processes may hold it.
        mark: A word that is added to its content.
    """

    def __init__(self, path: Path, *, shared: bool = False, mark: str = "") -> None:
        self._path = path
        self._shared = shared
        self._mark = mark
        self._content = b""
        self._file: int | None = None
        self._is_wanted = False

    def acquire(self) -> bool:
        """Take the lock, and write the process id and the time of the first success into the file.

        Returns:
            Whether this process holds it now; it does not if another one does.

        Raises:
            OSError: the file cannot be created or written.
        """
        self._is_wanted = True
        file = open_lock(self._path)
        try:
            # A file that has since been removed, with the other files of an exited hub, no longer locks anything.
            if not try_lock(file, shared=self._shared) or not _is_at(file, self._path):
                os.close(file)
                return False
            self._content = self._content or f"{os.getpid()} {now()} {self._mark}".rstrip().encode() + b"\n"
            _write(file, self._content)
        except OSError:
            os.close(file)
            raise
        self._close()
        self._file = file
        return True

    def release(self) -> None:
        """Let other processes know that this one is about to exit."""
        self._is_wanted = False
        self._close()

    async def keep(self) -> None:
        """Take the lock again whenever the file is removed, replaced or changed, until cancelled.

        Raises:
            HubError: the lock cannot be taken.
        """
        while True:
            await sleep_until_tick(KEEP_SECONDS)
            self.restore()

    def restore(self) -> None:
        """Take the lock again if the file was removed, replaced or changed; the time in it stays the same.

        Raises:
            HubError: the lock cannot be taken, for instance because another process holds it now.
        """
        if not self._is_wanted:
            return
        try:
            if self._file is not None and _is_at(self._file, self._path):
                if os.pread(self._file, len(self._content) + 1, 0) != self._content:
                    _write(self._file, self._content)
            elif not self.acquire():
                remedy = "stop one of the two"
                raise HubError(
                    f"{self._path} was removed or replaced, and {_holder(self._path)} holds it now: {remedy}"
                )
        except OSError as error:
            raise HubError(f"{self._path}: cannot be used as the lock file: {error.strerror}") from None

    def _close(self) -> None:
        if self._file is not None:
            # Before the file is closed, which wakes the other hubs' plugins.
            unlock(self._file)
            os.close(self._file)
            self._file = None


class ServingLock(HeldLock):
    """The lock of a plugin that is serving.

    Args:
        run_dir: The run directory, and the plugin's hub.
        plugin: The plugin's name.
    """

    def __init__(self, run_dir: RunDir, plugin: str) -> None:
        # Shared, so that a process that does not die does not block the next one.
        super().__init__(run_dir.serving(plugin), shared=True)
        self._directory = run_dir.serving(plugin).parent

    def acquire(self) -> bool:
        """Take the lock as `HeldLock` does; create its directory if there is none."""
        make_directory(self._directory)
        return super().acquire()


@contextmanager
def acquire_hub_lock(run_dir: RunDir, *, is_service: bool = False) -> Iterator[HeldLock]:
    """Hold the lock of the hub of this name.

    Args:
        run_dir: The run directory, and the hub's name.
        is_service: Whether the hub is the node's service.

    Raises:
        AlreadyRunningError: another process holds it.
        ConfigError: the lock file cannot be created.
    """
    end = time.monotonic() + LOCK_TIMEOUT
    lock = HeldLock(run_dir.lock, mark=_SERVICE if is_service else "")
    try:
        while not lock.acquire():
            if time.monotonic() > end:
                raise AlreadyRunningError(_already_running(run_dir))
            time.sleep(_POLL)
    except OSError as error:
        raise ConfigError(run_dir.lock, f"cannot be used as the lock file: {error.strerror}") from None
    try:
        yield lock
    finally:
        lock.release()


def running_hubs(run_dir: RunDir) -> list[Instance]:
    """Return the running hubs that share the run directory, oldest first, but the node's service last."""
    return sorted(hub for hub in _instances(run_dir, run_dir.lock) if hub.is_running and hub.since)


def running_service(run_dir: RunDir) -> str:
    """Return the name of the hub that is the node's service; empty if there is none, or it is not running."""
    return next((hub.name for hub in reversed(running_hubs(run_dir)) if hub.is_service), "")


def holds_lock(run_dir: RunDir, pid: int) -> bool | None:
    """Return whether a hub's process holds its lock; None if the lock file is missing, or is not that process's."""
    try:
        with existing_lock(run_dir.lock) as file:
            holder = os.pread(file, 64, 0).split()[:1]
            return is_locked(file) if holder == [str(pid).encode()] else None
    except OSError:
        return None


def exited_hubs(run_dir: RunDir) -> list[str]:
    """Return the names of hubs that have used the run directory and are not running."""
    return [hub.name for hub in _instances(run_dir, run_dir.lock) if not hub.is_running]


def serving(run_dir: RunDir, plugin: str) -> list[Instance]:
    """Return the hubs whose plugin with this name is serving or has served."""
    # A time in the future was written before the last boot.
    latest = now()
    return [each for each in _instances(run_dir, run_dir.serving(plugin)) if each.since <= latest]


@contextmanager
def start_blocked(run_dir: RunDir, name: str) -> Iterator[bool]:
    """Keep an exited hub from starting until the block ends; yield False if the hub is running."""
    with existing_lock(RunDir(run_dir.path, name).lock, writable=True) as file:
        yield try_lock(file)


def now() -> int:
    """Return the current time by the clock of `Instance.since`."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _write(file: int, content: bytes) -> None:
    os.pwrite(file, content, 0)
    os.truncate(file, len(content))


def _is_at(file: int, path: Path) -> bool:
    try:
        # Without following a link, as everywhere that locks are read.
        return os.path.samestat(os.fstat(file), path.lstat())
    except OSError:
        return False


def _already_running(run_dir: RunDir) -> str:
    remedy = "stop it, choose another name with --instance, or another directory with --run-dir or DPHUB_RUN_DIR"
    return f"another hub of the same name ({_holder(run_dir.lock)}) is using {run_dir.path}: {remedy}"


def _holder(lock: Path) -> str:
    """Name the process that holds a lock."""
    try:
        holder = read_text(lock).partition(" ")[0]
    except UnreadableError:
        holder = ""
    return f"process {holder or 'unknown'}"


def _instances(run_dir: RunDir, lock: Path) -> Iterator[Instance]:
    """Yield all instances with a lock file of the same kind as this one."""
    suffix = lock.name.removeprefix(run_dir.instance)
    for path in lock.parent.glob(f"*{suffix}"):
        name = path.name.removesuffix(suffix)
        if INSTANCE_NAME.fullmatch(name) and (found := _read(path, name)):
            yield found


def _read(path: Path, name: str) -> Instance | None:
    try:
        with existing_lock(path) as file:
            is_running = is_locked(file)
            _, *words = os.pread(file, 64, 0).split() or [b""]
    except OSError:
        return None
    since = int(words[0]) if words and words[0].isdigit() else 0
    return Instance(words[1:] == [_SERVICE.encode()], since, name, is_running)
