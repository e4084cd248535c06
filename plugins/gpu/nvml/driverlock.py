"""How a reset gets the GPUs for itself.

A GPU is not reset while any process has the driver open, and the plugin has, for it listens to the driver's reports.
So a reset asks it to release the driver, by locks on files, which the kernel releases however a process ends:

- the reset lock, shared by all resets that want the GPUs: a plugin finds it taken, and releases the driver;
- a driver lock for each hub: the plugin holds it while it has a session with the driver. Resets wait for all of them:
  in a rolling upgrade there are two plugins.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hub import FileLock, Runtime

RESET_LOCK = "reset.lock"
DRIVER_LOCK = "driver.lock"


class DriverLock:
    """The plugin's side.

    Args:
        runtime: Where the locks are; an empty one where no reset will ask.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._used = bool(runtime)
        self._reset = runtime.lock(runtime.node_path(RESET_LOCK))
        self._session = runtime.lock(runtime.instance_path(DRIVER_LOCK))

    @property
    def wanted(self) -> bool:
        """Whether a reset wants the GPUs."""
        return self._used and self._reset.held_by_other

    def acquire(self, patience: float = 0) -> bool:
        """Whether a session may begin, within so many seconds; it may not while a reset has the GPUs."""
        end = time.monotonic() + patience
        while not self._try_acquire():
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL)
        return True

    def _try_acquire(self) -> bool:
        if not self._used:
            return True
        if not self._session.acquire():
            return False
        if self.wanted:
            # A reset that came just now may not have seen this session.
            self._session.release()
            return False
        return True

    def release(self) -> None:
        """The session is over."""
        if self._used:
            self._session.release()


@contextmanager
def exclusive_driver(runtime: Runtime, patience: float) -> Iterator[None]:
    """Have the GPUs without a plugin.

    Args:
        runtime: As for the gate.
        patience: Seconds that the plugins have to release the driver.

    Raises:
        TimeoutError: one did not.
    """
    if not runtime:
        yield
        return
    end = time.monotonic() + patience
    with ExitStack() as closing:

        def acquire(lock: FileLock) -> None:
            closing.callback(lock.close)
            if not lock.acquire(shared=True, timeout=max(0, end - time.monotonic())):
                raise TimeoutError

        acquire(runtime.lock(runtime.node_path(RESET_LOCK)))
        # After the reset lock: a session that begins now finds that one taken.
        for path in runtime.instance_paths(DRIVER_LOCK):
            acquire(runtime.lock(path))
        yield


_POLL = 0.02
"""Seconds between two tries."""
