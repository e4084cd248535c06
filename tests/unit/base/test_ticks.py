"""The common moments of periodic work."""

import asyncio
import math
from itertools import pairwise

import pytest

from hub.base.ticks import TICK, next_tick, sleep_until_tick


@pytest.mark.parametrize("now", [0.0, 0.3, 4.9995, 5.0, 12345.678, 10**7 + 1 / 3])
@pytest.mark.parametrize("interval", [0.05, 2 / 3, 2, TICK, 7, 10, 30, 3600, 1e9])
def test_what_is_due_in_the_same_tick_wakes_at_the_same_moment(now: float, interval: float) -> None:
    """A wake-up is never later than requested, and at most one tick earlier; all moments depend on the clock alone."""
    step = min(interval, TICK)
    due = next_tick(interval, now)
    assert now + interval - step < due <= now + interval + 0.0011
    assert due > now
    assert due / step == pytest.approx(round(due / step), abs=1e-6)


@pytest.mark.parametrize("interval", [0.05, 2 / 3, 2, TICK, 10, 30])
def test_the_pace_is_the_interval(interval: float) -> None:
    """This holds from the first moment on, even if a timer ends a little early or late."""
    moments = [next_tick(interval, 1234.5)]
    for delay in (0, 0.01, -1e-9, 0.04, -0.0009):
        moments.append(next_tick(interval, moments[-1] + delay))
    assert [b - a for a, b in pairwise(moments)] == pytest.approx([interval] * 5)


def test_intervals_of_any_author() -> None:
    """Infinite intervals and intervals of zero seconds are both valid."""
    assert next_tick(math.inf, 3) == math.inf
    assert next_tick(0, 3) == 3


async def test_sleeping_until_the_next_moment() -> None:
    """It returns the intended duration, which is what the hub counts if it gets no CPU time."""
    begin = asyncio.get_running_loop().time()
    meant = await sleep_until_tick(0.05)
    assert 0 < meant <= 0.0511
    assert asyncio.get_running_loop().time() >= begin + meant - 0.001
