"""The hubs on a node: normally one, briefly two or more during a rolling upgrade.

A running hub holds a lock file in the run directory that contains its start time. So each hub knows of the others, and
all know which of them is newer. Each plugin holds such a file too from the moment it begins to serve until it leaves
its devices to another hub or exits, because the plugin of a new hub may not be serving yet. The file of a hub or plugin
that has exited remains as a trace.
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
from hub.base.untrusted import UnreadableError, read_text

LOCK_TIMEOUT = 1.0
"""Seconds to wait for the lock: a hub that removes the files of an exited hub holds that hub's lock for a moment."""

_POLL = 0.02


class AlreadyRunningError(HubError):
    """Another hub of the same name is using the run directory."""


class Instance(NamedTuple):
    """A hub, or a plugin of a hub."""

    since: int
    """Start time in nanoseconds since boot, which clock adjustments do not change; 0 if it has not been written yet."""
    name: str
    """The hub's name."""
    is_running: bool


@contextmanager
def acquire_hub_lock(run_dir: RunDir) -> Iterator[None]:
    """Hold the lock of the hub of this name; the kernel releases it however the process exits.

    Raises:
        AlreadyRunningError: another process holds it.
        ConfigError: the lock file cannot be created.
    """
    end = time.monotonic() + LOCK_TIMEOUT
    try:
        while (file := _lock(run_dir.lock)) is None:
            if time.monotonic() > end:
                raise AlreadyRunningError(_already_running(run_dir))
            time.sleep(_POLL)
    except OSError as error:
        raise ConfigError(run_dir.lock, f"cannot be used as the lock file: {error.strerror}") from None
    try:
        yield
    finally:
        os.close(file)


def acquire_serving_lock(run_dir: RunDir, plugin: str) -> int | None:
    """Hold the lock of a plugin that serves, until `release_serving_lock` or until this process exits.

    Raises:
        OSError: the lock file cannot be created.
    """
    path = run_dir.serving(plugin)
    make_directory(path.parent)
    # Shared, so that a process that does not die does not block the next one.
    return _lock(path, shared=True)


def release_serving_lock(file: int) -> None:
    """Release a lock of `acquire_serving_lock`."""
    # Before the file is closed, which wakes the other hubs' plugins.
    unlock(file)
    os.close(file)


def running_hubs(run_dir: RunDir) -> list[Instance]:
    """Return the running hubs that share the run directory, the oldest first."""
    return sorted(hub for hub in _instances(run_dir, run_dir.lock) if hub.is_running and hub.since)


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
    """Return the hubs whose plugin of this name serves or has served."""
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


def _lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock a file and write the process and the time into it; return None if another process holds it."""
    file = open_lock(path)
    # A file that has since been removed, with the other files of an exited hub, no longer locks anything.
    if not try_lock(file, shared=shared) or not _is_at(file, path):
        os.close(file)
        return None
    os.truncate(file, 0)
    os.pwrite(file, f"{os.getpid()} {now()}\n".encode(), 0)
    return file


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _already_running(run_dir: RunDir) -> str:
    try:
        holder = read_text(run_dir.lock).partition(" ")[0]
    except UnreadableError:
        holder = ""
    remedy = "stop it, or choose another directory with --run-dir or DPHUB_RUN_DIR"
    return f"another hub (process {holder or 'unknown'}) is using {run_dir.path}: {remedy}"


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
            since = os.pread(file, 64, 0).split()[1:]
    except OSError:
        return None
    return Instance(int(since[0]) if since and since[0].isdigit() else 0, name, is_running)
