"""The share of the event loop that clients on the network get."""

import asyncio
import time
from collections.abc import Callable

SHARE = 0.2
"""Of one processor, on average: the hub's own work always finds the event loop free."""

BURST = 0.5
"""Seconds of processor time that clients may use at once, after a pause: the page of a large node."""


_SHORTEST = 0.001
"""Seconds of a pause: rounding must not make one of zero."""


class Budget:
    """Processor time that clients on the network may use.

    All that the thread uses counts, so nothing that a client can make it do is left out. The hub's own work is small,
    and never waits for this.

    Args:
        now: Returns the time in seconds.
        used: Returns the seconds of processor time that this thread has used.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, used: Callable[[], float] = time.thread_time) -> None:
        self._clocks = now, used
        self._now, self._used = now(), used()
        self._left = BURST

    def pause(self) -> float:
        """Return the seconds until a client may be served; 0 if one may be served now."""
        now, used = (clock() for clock in self._clocks)
        self._left += (now - self._now) * SHARE - (used - self._used)
        self._now, self._used = now, used
        # After a long burst of the hub's own work, clients need not wait for as long.
        self._left = max(-BURST, min(BURST, self._left))
        return max(_SHORTEST, -self._left / SHARE) if self._left < 0 else 0.0

    async def wait(self) -> None:
        """Wait until a client may be served, and let other tasks run in any case."""
        await asyncio.sleep(0)
        while pause := self.pause():  # noqa: ASYNC110 - only time ends this wait
            await asyncio.sleep(pause)
