"""The shared times (ticks) at which periodic work is done, so that several timers of a process cost one wake-up.

An idle node spends most of its CPU time on waking up, not on what it then does. So whatever checks something
regularly does so at shared times: when the node's monotonic clock shows a multiple of `TICK`.
"""

import asyncio
import math

TICK = 5.0
"""Seconds between these times."""

_SLACK = 0.001
"""Seconds by which a timer may end too early; that must not cause a second wake-up."""


def next_tick(interval: float, now: float) -> float:
    """Return the last shared time that is at most an interval away: over time, this is once every interval.

    An interval shorter than `TICK` uses its own multiples instead. A longer one that is not a multiple of `TICK` is
    rounded down to one.

    Args:
        interval: Maximum seconds from now.
        now: The current time of the monotonic clock.
    """
    if not 0 < interval < math.inf:
        return now + interval
    step = min(interval, TICK)
    return step * math.floor((now + interval + _SLACK) / step)


async def sleep_until_tick(interval: float) -> float:
    """Sleep until `next_tick`; return the planned seconds, however long the sleep took."""
    now = asyncio.get_running_loop().time()
    seconds = next_tick(interval, now) - now
    await asyncio.sleep(seconds)
    return seconds
