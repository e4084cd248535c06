"""Waiting for conditions in the cluster."""

import time
from collections.abc import Callable
from typing import TypeVar

WAIT_SECONDS = 240.0
"""The default limit; far more than any condition takes, even on a busy machine."""

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], what: str, poll_seconds: float = 0.1) -> T:
    """Return the first true value of the condition.

    Raises:
        AssertionError: the condition stayed false; the message names it.
    """
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(poll_seconds)
    raise AssertionError(f"not seen in {WAIT_SECONDS:g} s: {what}")
