"""The hubs of a node: one, and for a moment of a rolling upgrade two.

A hub holds a lock file in the run directory for as long as it lives, and writes into it since when. So each knows of
the other, and both know which of them is to follow the other. So does each plugin from the moment when it begins to
serve: a hub that has come may still be without a plugin that serves. Of one that came and went there is a trace.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hub.base.errors import ConfigError, HubError
from hub.base.locks import existing_lock, is_locked, open_lock, try_lock
from hub.base.paths import INSTANCE_NAME, RunDir

LOCK_TIMEOUT = 1.0
"""Seconds for a lock to become free: whoever removes what a dead hub has left holds its lock for a moment."""

_POLL = 0.02


class AlreadyRunningError(HubError):
    """Another hub of the same name holds the run directory."""


class Instance(NamedTuple):
    """A hub, or a plugin of one."""

    since: int
    """Nanoseconds of the node's time since boot, which no clock adjustment moves; 0 where it has not said so yet."""
    name: str
    """The hub's name."""
    is_running: bool


@contextmanager
def acquire_hub_lock(run_dir: RunDir) -> Iterator[None]:
    """Be the hub of this name; the kernel lets go when the process ends, however it ends.

    Raises:
        AlreadyRunningError: another process is.
        ConfigError: the lock file cannot be made.
    """
    end = time.monotonic() + LOCK_TIMEOUT
    try:
        while (file := _lock(run_dir.lock)) is None:
            if time.monotonic() > end:
                raise AlreadyRunningError(_already_running(run_dir))
            time.sleep(_POLL)
    except OSError as error:
        raise ConfigError(run_dir.lock, f"cannot be the lock file: {error.strerror}") from None
    try:
        yield
    finally:
        os.close(file)


def acquire_serving_lock(run_dir: RunDir, plugin: str) -> None:
    """Be a plugin that serves, until this process ends.

    Raises:
        OSError: the lock file cannot be made.
    """
    # Shared: a process that does not die keeps its successor from nothing. Never closed.
    _lock(run_dir.serving(plugin), shared=True)


def running_hubs(run_dir: RunDir) -> list[Instance]:
    """The hubs that share the run directory and live, the oldest first."""
    return sorted(hub for hub in _instances(run_dir, run_dir.lock) if hub.is_running and hub.since)


def exited_hubs(run_dir: RunDir) -> list[str]:
    """The names of hubs that have shared the run directory and are no more."""
    return [hub.name for hub in _instances(run_dir, run_dir.lock) if not hub.is_running]


def serving(run_dir: RunDir, plugin: str) -> list[Instance]:
    """The hubs of which this plugin serves, or has served; those with a time to come are of before the last boot."""
    latest = now()
    return [each for each in _instances(run_dir, run_dir.serving(plugin)) if each.since <= latest]


@contextmanager
def start_blocked(run_dir: RunDir, name: str) -> Iterator[bool]:
    """Whether a hub is dead, and cannot start until the block ends."""
    with existing_lock(RunDir(run_dir.path, name).lock) as file:
        yield try_lock(file)


def now() -> int:
    """The time that `Instance.since` is told in."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock a file, and write who has it and since when; None where somebody else has it."""
    file = open_lock(path)
    # One that was removed meanwhile, with what a dead hub had left, is nobody's lock any more.
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
    holder = run_dir.lock.read_text(errors="replace").partition(" ")[0] or "unknown"
    remedy = "stop it, or choose another directory with --run-dir or DPHUB_RUN_DIR"
    return f"another hub (process {holder}) holds {run_dir.path}: {remedy}"


def _instances(run_dir: RunDir, lock: Path) -> Iterator[Instance]:
    """Everybody who has or had a lock like this one, whose name begins with that of the hub."""
    suffix = lock.name.removeprefix(run_dir.instance)
    for path in run_dir.path.glob(f"*{suffix}"):
        name = path.name.removesuffix(suffix)
        if INSTANCE_NAME.fullmatch(name) and (found := _read(path, name)):
            yield found


def _read(path: Path, name: str) -> Instance | None:
    try:
        with existing_lock(path) as file:
            lives = is_locked(file)
            since = os.pread(file, 64, 0).split()[1:]
    except OSError:
        return None
    return Instance(int(since[0]) if since and since[0].isdigit() else 0, name, lives)
