"""A counter of changes that tasks wait for."""

import asyncio
from collections.abc import Iterable


class ChangeCounter:
    """Counts changes. Any number of tasks wait for the next one.

    A task that remembers the number that it has seen never misses a change, and is not woken by one
    that it has already seen.
    """

    def __init__(self) -> None:
        self.number = 0
        self._changed = asyncio.Event()

    def bump(self) -> None:
        """Count a change and wake the tasks waiting for it."""
        self.number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_beyond(self, number: int) -> None:
        """Return as soon as the number has changed."""
        while self.number == number:
            await self._changed.wait()


async def next_change(seen: Iterable[tuple[ChangeCounter, int]]) -> None:
    """Return as soon as one of several counters no longer shows the number that was seen."""
    waits = [asyncio.ensure_future(counter.wait_beyond(number)) for counter, number in seen]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
