"""One hub per run directory and instance."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from hub.errors import ConfigError, HubError
from hub.paths import RunDir


class AlreadyRunningError(HubError):
    """Another hub holds the run directory."""


@contextmanager
def hold(run_dir: RunDir) -> Iterator[None]:
    """Hold the run directory for this process; the kernel lets go when the process ends, however it ends.

    Raises:
        AlreadyRunningError: another process holds it.
        ConfigError: the lock file cannot be made.
    """
    try:
        file = os.open(run_dir.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(run_dir.lock, f"cannot be the lock file: {error.strerror}") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
            raise AlreadyRunningError(
                f"another hub (process {holder}) holds {run_dir.path}: stop it, or give this one another --run-dir"
            ) from None
        os.truncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
        os.truncate(file, 0)
    finally:
        os.close(file)
