"""Waits for something to hold that nobody announces by itself."""

import asyncio
from collections.abc import Callable


class Notifier:
    """Lets one task wait for conditions, which are looked at whenever somebody says that things may have changed."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Things may have changed."""
        self._changed.set()

    async def wait_for(self, condition: Callable[[], bool], limit: float | None = None) -> None:
        """Wait until the condition holds, or for so many seconds; whoever cares which of the two asks again."""
        try:
            async with asyncio.timeout(limit):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return
