"""The hubs of a node: one, and for a moment of a rolling upgrade two.

A hub holds a lock file in the run directory for as long as it lives, and writes into it since when. So each knows of
the other, and both know which of them is to follow the other; and of one that came and went there is a trace.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from hub.errors import ConfigError, HubError
from hub.locks import is_locked, open_lock, try_lock
from hub.paths import RunDir

_SUFFIX = ".lock"


class AlreadyRunningError(HubError):
    """Another hub of the same name holds the run directory."""


class Instance(NamedTuple):
    """A hub."""

    since: int
    """Nanoseconds of the node's time since boot, which no clock adjustment moves."""
    name: str


@contextmanager
def hold(run_dir: RunDir) -> Iterator[None]:
    """Be the hub of this name; the kernel lets go when the process ends, however it ends.

    Raises:
        AlreadyRunningError: another process is.
        ConfigError: the lock file cannot be made.
    """
    try:
        file = open_lock(run_dir.lock)
    except OSError as error:
        raise ConfigError(run_dir.lock, f"cannot be the lock file: {error.strerror}") from None
    try:
        if not try_lock(file):
            holder = os.pread(file, 64, 0).decode(errors="replace").partition(" ")[0] or "unknown"
            raise AlreadyRunningError(
                f"another hub (process {holder}) holds {run_dir.path}: stop it, or give this one another --run-dir"
            )
        os.truncate(file, 0)
        os.pwrite(file, f"{os.getpid()} {now()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def living(run_dir: RunDir) -> list[Instance]:
    """The hubs that share the run directory and live, the oldest first."""
    return sorted(hub for hub, lives in _all(run_dir) if lives and hub.since)


def dead(run_dir: RunDir) -> list[str]:
    """The names of hubs that have shared the run directory and are no more."""
    return [hub.name for hub, lives in _all(run_dir) if not lives]


def newest_other(run_dir: RunDir) -> int:
    """Since when the youngest other hub is there, or was; 0 where there never was one."""
    latest = now()
    # What is later is of before the node was started anew.
    others = [hub for hub, _ in _all(run_dir) if hub.name != run_dir.instance and hub.since <= latest]
    return max((hub.since for hub in others), default=0)


def now() -> int:
    """The time that `Instance.since` is told in."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _all(run_dir: RunDir) -> Iterator[tuple[Instance, bool]]:
    """Every hub, and whether it lives; `since` is 0 where it has not said so yet."""
    for path in run_dir.path.glob(f"*{_SUFFIX}"):
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            lives = is_locked(file)
            since = os.pread(file, 64, 0).split()[1:]
        finally:
            os.close(file)
        yield Instance(int(since[0]) if since and since[0].isdigit() else 0, path.name.removesuffix(_SUFFIX)), lives
