"""Shows that a plugin process lives: its pulse, written by the event loop."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hub.metric import Metric
from hub.plugin.statefile import StateFile
from hub.state.pulse import Pulse


class Heart:
    """Writes the pulse.

    Args:
        path: The file; None where nobody looks at it.
        interval: Seconds between two pulses.
        scan: Tells the number of the scan that runs (0 for none) and the seconds that it may take.
        level: Tells the log level.
        metrics: Tells the figures.
    """

    def __init__(
        self,
        path: Path | None,
        interval: float,
        scan: Callable[[], tuple[int, float]],
        level: Callable[[], str],
        metrics: Callable[[], Sequence[Metric]],
    ) -> None:
        self._interval = interval
        self._scan = scan
        self._level = level
        self._metrics = metrics
        self._file = StateFile(path, self._pulse)

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            self._file.write()
            await asyncio.sleep(self._interval)

    def _pulse(self) -> Pulse:
        scan, limit = self._scan()
        return Pulse(os.getpid(), time.time(), scan, limit, self._level(), tuple(self._metrics()))
