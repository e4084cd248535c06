"""The hubs of a node: one, and for a moment of a rolling upgrade two.

A hub holds a lock file in the run directory for as long as it lives, and writes into it since when. So each knows of
the other, and both know which of them is to follow the other.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hub.errors import ConfigError, HubError
from hub.locks import is_locked, open_lock, try_lock
from hub.paths import RunDir

_SUFFIX = ".lock"


class AlreadyRunningError(HubError):
    """Another hub of the same name holds the run directory."""


class Instance(NamedTuple):
    """A hub that lives."""

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
        os.pwrite(file, f"{os.getpid()} {time.clock_gettime_ns(time.CLOCK_BOOTTIME)}\n".encode(), 0)
        yield
        os.truncate(file, 0)
    finally:
        os.close(file)


def living(run_dir: RunDir) -> list[Instance]:
    """The hubs that share the run directory and live, the oldest first."""
    return sorted(Instance(since, name) for name, since in _all(run_dir) if since)


def dead(run_dir: RunDir) -> list[str]:
    """The names of hubs that have shared the run directory and are no more."""
    return [name for name, since in _all(run_dir) if since is None]


def _all(run_dir: RunDir) -> Iterator[tuple[str, int | None]]:
    return ((path.name.removesuffix(_SUFFIX), _since(path)) for path in run_dir.path.glob(f"*{_SUFFIX}"))


def _since(lock: Path) -> int | None:
    """Since when a lock is held; None where it is not, 0 where it is just being taken."""
    try:
        file = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        if not is_locked(file):
            return None
        since = os.pread(file, 64, 0).split()[1:]
        return int(since[0]) if since and since[0].isdigit() else 0
    finally:
        os.close(file)
