"""Waiting for conditions that depend on several things."""

import asyncio
from collections.abc import Callable


class Notifier:
    """Lets one task wait for a condition, which is checked after each notification."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Have the condition checked again, because something it depends on may have changed."""
        self._changed.set()

    async def wait_for(self, condition: Callable[[], bool], limit: float | None = None) -> None:
        """Wait until the condition holds, for at most `limit` seconds; the caller checks which of the two happened."""
        try:
            async with asyncio.timeout(limit):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return
