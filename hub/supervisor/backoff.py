"""How long a crashed plugin waits before its next start."""

import time
from collections.abc import Callable

HEALTHY_SECONDS = 60.0
"""A process that ran this long starts a new count of crashes."""

LONGEST_SECONDS = 30.0
"""The longest wait. Short enough that a plugin is back soon after its cause is mended."""


class BackOff:
    """Delays of 0, 1, 2, 4 ... seconds, capped, for one plugin.

    Args:
        clock: Seconds that never go back; tests bring their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started: float | None = None
        self._next = 0.0

    def started(self) -> None:
        """A process was started."""
        self._started = self._clock()

    def crashed(self) -> float:
        """The process ended unasked, or could not be started.

        Returns:
            Seconds to wait before the next start.
        """
        if self._started is not None and self._clock() - self._started >= HEALTHY_SECONDS:
            self._next = 0.0
        self._started = None
        delay, self._next = self._next, min(max(1.0, 2 * self._next), LONGEST_SECONDS)
        return delay

    def reset(self) -> None:
        """Forget the crashes: an administrator wants the plugin now."""
        self._started = None
        self._next = 0.0
