"""Tasks that run as long as their process: each is restarted when it fails, and reported as failed in the meantime."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager

from hub.base.errors import HubError
from hub.base.log import get_logger
from hub.base.statusfile import StatusFile
from hub.base.threads import RETRY_SECONDS, STEADY_SECONDS

Work = Callable[[], Coroutine[None, None, None]]
"""A function that starts a task."""


class Tasks:
    """Keeps the tasks of a process running.

    Args:
        status: Written when a task fails, and when it works again.
        retry: Seconds between a failure and the restart.
        steady: Seconds of work after which a task no longer counts as failed.

    Attributes:
        failures: The errors of the tasks that failed recently, by name.
    """

    def __init__(self, status: StatusFile, *, retry: float = RETRY_SECONDS, steady: float = STEADY_SECONDS) -> None:
        self.failures: dict[str, str] = {}
        self._status = status
        self._retry = retry
        self._steady = steady
        self._log = get_logger()

    async def run(self, name: str, work: Work) -> None:
        """Run a task until cancelled, and restart it whenever it fails or returns.

        Args:
            name: The task's name, as it is displayed.
            work: Starts the task.
        """
        loop = asyncio.get_running_loop()
        while True:
            steady = loop.call_later(self._steady, self._works, name)
            cause: Exception | None = None
            try:
                await work()
                failure = "it returned unexpectedly"
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise
                failure = "it was cancelled"
            except Exception as error:  # noqa: BLE001 - the task is needed, whatever the error is
                failure, cause = _describe(error), error
            finally:
                steady.cancel()
            # A task may fail every second: a repeated failure is logged only once.
            is_new = self.failures.get(name) != failure
            self.failures[name] = failure
            self._status.mark_changed()
            if is_new:
                self._log.error("task failed", task=name, reason=failure, exc_info=cause)
            await asyncio.sleep(self._retry)
            if is_new:
                self._log.info("task restarted", task=name)

    @asynccontextmanager
    async def running(self, work: Iterable[tuple[str, Work]]) -> AsyncIterator[None]:
        """Run tasks until the block ends.

        Args:
            work: The name of each task, and what starts it.
        """
        tasks = [asyncio.create_task(self.run(*each)) for each in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _works(self, name: str) -> None:
        if self.failures.pop(name, ""):
            self._status.mark_changed()


def _is_cancelled() -> bool:
    """Return whether this task itself was cancelled, and not only something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _describe(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, HubError) else f"{type(error).__name__}: {error}"
