"""Limits the share of the event loop's time that clients on the network get."""

import asyncio
import time
from collections.abc import Callable

SHARE = 0.2
"""The share of one CPU, on average: the rest of the event loop's time is always left for the hub's own work."""

BURST = 0.5
"""Seconds of CPU time that clients may use at once after a pause: enough for the page of a large node."""


_SHORTEST = 0.001
"""Minimum pause in seconds, so that no pause is rounded down to zero."""


class Budget:
    """CPU time that clients on the network may use.

    All CPU time that the process uses counts, in every thread, so a client cannot make it do work that is not
    counted. Time used beyond the budget is made up for in full by the pause that follows, however long. The hub's own
    work is small, and never waits for the budget.

    Args:
        now: Returns the time in seconds.
        used: Returns the seconds of CPU time that this process has used.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, used: Callable[[], float] = time.process_time
    ) -> None:
        self._clocks = now, used
        self._now, self._used = now(), used()
        self._left = BURST

    def pause(self) -> float:
        """Return the seconds until a client may be served; 0 if one may be served now."""
        now, used = (clock() for clock in self._clocks)
        self._left = min(BURST, self._left + (now - self._now) * SHARE - (used - self._used))
        self._now, self._used = now, used
        return max(_SHORTEST, -self._left / SHARE) if self._left < 0 else 0.0

    async def wait(self) -> None:
        """Wait until a client may be served, but always let other tasks run first."""
        await asyncio.sleep(0)
        while pause := self.pause():  # noqa: ASYNC110 - only time ends this wait
            await asyncio.sleep(pause)
