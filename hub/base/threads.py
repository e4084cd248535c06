"""Threads that run as long as their process."""

import threading
import time
from collections.abc import Callable

from hub.base.log import get_logger

RETRY_SECONDS = 1.0
"""Seconds between a failure of a thread or task and its restart."""

STEADY_SECONDS = 60.0
"""Seconds of work after which a restarted thread or task no longer counts as failed."""


class SupervisedThread:
    """A daemon thread whose function is called again whenever it fails or returns; each failure is logged.

    An exception ends a plain thread, and nothing notices that its work is no longer being done.

    Args:
        name: The thread's name in the log.
        work: Runs in the thread for as long as the process is running.
        retry: Seconds between a failure and the next call.
    """

    def __init__(self, name: str, work: Callable[[], None], *, retry: float = RETRY_SECONDS) -> None:
        self._name = name
        self._work = work
        self._retry = retry
        self._thread: threading.Thread | None = None
        self._failure = ""
        self._failed_at = 0.0
        self._log = get_logger()

    @property
    def is_started(self) -> bool:
        """Whether `start` was called."""
        return self._thread is not None

    @property
    def failure(self) -> str:
        """Why the function failed, within the last minute; empty if it did not."""
        return self._failure if time.monotonic() - self._failed_at < STEADY_SECONDS else ""

    def start(self) -> None:
        """Start the thread, unless it has already been started."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            cause: BaseException | None = None
            try:
                self._work()
                failure = "it returned unexpectedly"
            except BaseException as error:  # noqa: BLE001 - the thread is needed, whatever the error is
                failure, cause = f"{type(error).__name__}: {error}", error
            is_new = failure != self.failure
            self._failure, self._failed_at = failure, time.monotonic()
            if is_new:
                self._log.error("thread failed", thread=self._name, reason=failure, exc_info=cause)
            time.sleep(self._retry)
            if is_new:
                self._log.info("thread restarted", thread=self._name)
