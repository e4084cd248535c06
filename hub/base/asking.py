"""Questions to plugin code that is expected to answer at once and may hang all the same."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from hub.base.failures import PluginError, PluginTimeout
from hub.base.threads import place_of_call, start_call

MAX_PENDING = 16
"""Questions of one asker that may be unanswered at one time. Few are asked at once, so that more of them hang; each
holds a thread for as long as it does."""

T = TypeVar("T")


class Calls:
    """Asks plugin code in threads, with a limit of time and of how many may hang."""

    def __init__(self) -> None:
        self._pending: set[asyncio.Future[Any]] = set()

    async def call(self, method: Callable[..., Any], question: Callable[[], T], limit: float) -> T:
        """The answer to a question that calls a method of the plugin.

        Raises:
            PluginTimeout: there was none within the limit, in seconds.
            PluginError: it failed.
        """
        if len(self._pending) >= MAX_PENDING:
            raise PluginError(f"{MAX_PENDING} earlier calls of the plugin have not returned")
        answer = start_call(method, question)
        self._pending.add(answer)
        answer.add_done_callback(self._settle)
        # Shielded, for the call is pending until its thread returns, whoever still waits for it.
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(answer)
        except TimeoutError:
            raise PluginTimeout(method, limit, place_of_call(answer)) from None

    def _settle(self, answer: asyncio.Future[Any]) -> None:
        self._pending.discard(answer)
        if not answer.cancelled():
            # Looked at, so that asyncio does not complain about an answer that came too late for anybody to hear.
            answer.exception()
