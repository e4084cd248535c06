"""Locks that give a reset exclusive use of the GPUs.

A GPU is not reset while any process has the driver open, and the plugin keeps it open to receive reports. So a
reset makes the plugin release the driver, through file locks, which the kernel releases however a process exits:

- the reset lock, shared by all resets that need the GPUs: a plugin that finds it taken releases the driver;
- a driver lock for each hub: the plugin holds it during its session with the driver. Resets wait for all of them: in a
  rolling upgrade there are two plugins.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hub import FileLock, Runtime

RESET_LOCK = "reset.lock"
DRIVER_LOCK = "driver.lock"


class DriverLock:
    """The plugin's side of the locks.

    Args:
        runtime: Where the locks are; an empty one if no reset needs them.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._used = bool(runtime)
        self._reset = runtime.lock(runtime.node_path(RESET_LOCK))
        self._session = runtime.lock(runtime.instance_path(DRIVER_LOCK))

    @property
    def wanted(self) -> bool:
        """Whether a reset needs the GPUs."""
        return self._used and self._reset.held_by_other

    def acquire(self, timeout: float = 0) -> bool:
        """Take the driver for a session, unless a reset has the GPUs.

        Args:
            timeout: Seconds to wait for the end of resets.

        Returns:
            Whether a session may begin.
        """
        if not self._used:
            return True
        # Held exclusively, the reset lock prevents new resets until they can see this session.
        if not self._reset.acquire(timeout=timeout):
            return False
        try:
            return self._session.acquire()
        finally:
            self._reset.release()

    def release(self) -> None:
        """Release the driver after a session."""
        if self._used:
            self._session.release()


@contextmanager
def exclusive_driver(runtime: Runtime, timeout: float) -> Iterator[None]:
    """Reserve the GPUs, so that no plugin uses the driver in the meantime.

    Args:
        runtime: Where the locks are; an empty one if no plugin is running.
        timeout: Seconds within which the plugins must release the driver.

    Raises:
        TimeoutError: a plugin did not release the driver.
    """
    if not runtime:
        yield
        return
    end = time.monotonic() + timeout
    with ExitStack() as closing:

        def acquire(lock: FileLock) -> None:
            closing.callback(lock.close)
            if not lock.acquire(shared=True, timeout=max(0, end - time.monotonic())):
                raise TimeoutError

        acquire(runtime.lock(runtime.node_path(RESET_LOCK)))
        # Taken after the reset lock: a session that tries to begin now finds the reset lock taken.
        for path in runtime.instance_paths(DRIVER_LOCK):
            acquire(runtime.lock(path))
        yield
