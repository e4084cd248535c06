"""Tasks that call the API server: each tries again until it succeeds, at increasing intervals."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from hub.apiserver.errors import ApiError, Backoff
from hub.base.changecount import ChangeCounter
from hub.base.log import get_logger


class Attempts:
    """The attempts of one task.

    Args:
        name: What the task does, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._backoff = Backoff()
        self._rejected = ""
        self._log = get_logger()

    async def until_done(self, work: Callable[[], Awaitable[None]]) -> None:
        """Call `work` until it succeeds."""
        while True:
            try:
                await work()
            except ApiError as error:
                await asyncio.sleep(self.failed(error))
            else:
                self.succeeded()
                return

    async def after_each(self, changes: ChangeCounter, work: Callable[[], Awaitable[float | None]]) -> None:
        """Call `work` now and after each change, until cancelled.

        Args:
            changes: The changes. A change during an attempt leads to another attempt.
            work: The task; returns the seconds after which it is due again even without a change.
        """
        while True:
            seen = changes.number
            try:
                seconds = await work()
            except ApiError as error:
                await asyncio.sleep(self.failed(error))
            else:
                self.succeeded()
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await changes.wait_beyond(seen)

    def succeeded(self) -> None:
        """Start again with the shortest delay."""
        self._backoff.reset()
        self._rejected = ""

    def failed(self, error: ApiError) -> float:
        """Log a rejection, once; return the seconds until the next attempt."""
        if not error.is_outage and str(error) != self._rejected:
            self._rejected = str(error)
            self._log.warning("API request rejected", task=self._name, status=error.status, reason=error.reason)
        return self._backoff.delay(error)
