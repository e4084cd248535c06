"""Waiting for what a process does, rather than for a fixed time."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

WAIT_SECONDS = 60.0
"""The default limit; far more than any condition takes, even on a busy machine."""

POLL_SECONDS = 0.005

T = TypeVar("T")


async def wait_until(condition: Callable[[], T | None], what: str, timeout: float = WAIT_SECONDS) -> T:  # noqa: ASYNC109 - the error names the condition
    """Return the first true value of the condition.

    Args:
        condition: Called every few milliseconds; an error that it raises ends the wait.
        what: Names the condition in the error.
        timeout: Seconds.

    Raises:
        AssertionError: the condition stayed false.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"not seen in {timeout:g} s: {what}")
