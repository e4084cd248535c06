"""The delay before the next start of a crashed plugin."""

import time
from collections.abc import Callable

HEALTHY_SECONDS = 60.0
"""After a process has run for this long, the delays begin again at zero."""

LONGEST_SECONDS = 30.0
"""Maximum delay, short enough that a plugin is back soon after the cause of its crashes is fixed."""


class BackOff:
    """Delays of 0, 1, 2, 4 ... seconds, up to a limit, for one plugin.

    Args:
        clock: A monotonic clock in seconds; tests pass their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started: float | None = None
        self._next = 0.0

    def started(self) -> None:
        """Record the start of a process."""
        self._started = self._clock()

    def crashed(self) -> float:
        """Record that the process exited without being stopped, or could not be started.

        Returns:
            Seconds to wait before the next start.
        """
        if self._started is not None and self._clock() - self._started >= HEALTHY_SECONDS:
            self._next = 0.0
        self._started = None
        delay, self._next = self._next, min(max(1.0, 2 * self._next), LONGEST_SECONDS)
        return delay

    def reset(self) -> None:
        """Forget earlier crashes, because an administrator starts the plugin."""
        self._started = None
        self._next = 0.0
