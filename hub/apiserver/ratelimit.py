"""A limit on the rate of requests, whatever goes wrong."""

import asyncio

PER_SECOND = 2.0
"""Requests per second in the long run. While nothing happens, a node sends one every few minutes."""

BURST = 10
"""Requests that may be sent at once, after a pause."""


class RateLimit:
    """Delays requests so that there are never more than `BURST` at once, and `PER_SECOND` in the long run."""

    def __init__(self, per_second: float = PER_SECOND, burst: int = BURST) -> None:
        self._interval = 1 / per_second
        self._slack = self._interval * (burst - 1)
        self._next = 0.0

    async def wait(self) -> None:
        """Wait until the next request may be sent."""
        now = asyncio.get_running_loop().time()
        turn = max(self._next, now - self._slack)
        self._next = turn + self._interval
        if turn > now:
            await asyncio.sleep(turn - now)
