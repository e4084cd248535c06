"""Shows that a plugin process lives: its pulse, written by the event loop."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from hub.api.plugin import Plugin
from hub.base.statusfile import StatusFile
from hub.model.heartbeat import HeartbeatReport
from hub.plugin.metrics.plugin import PluginMetrics
from hub.plugin.metrics.process import ProcessMetrics


class Heartbeat:
    """Writes the pulse.

    Args:
        path: The file; None where nobody looks at it.
        interval: Seconds between two pulses.
        scan: Tells the number of the scan that runs (0 for none) and the seconds that it may take.
        level: Tells the log level.
        plugin: Is asked for figures of its own.
        meter: Those of the process.
    """

    def __init__(
        self,
        path: Path | None,
        interval: float,
        scan: Callable[[], tuple[int, float]],
        level: Callable[[], str],
        *,
        plugin: Plugin,
        meter: ProcessMetrics,
    ) -> None:
        self._path = path
        self._interval = interval
        self._scan = scan
        self._level = level
        self._meter = meter
        self._file = StatusFile(path, self._pulse)
        self._of_plugin = PluginMetrics(plugin, self._file.mark_changed)

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            self.beat()
            self._of_plugin.refresh()
            await asyncio.sleep(self._interval)

    def beat(self) -> None:
        """Show that the loop turns, also where a full disk takes no figures: the time of a file needs no space."""
        self._file.write()
        if self._path:
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def _pulse(self) -> HeartbeatReport:
        scan, limit = self._scan()
        metrics = (*self._meter.metrics(), *self._of_plugin.latest)
        return HeartbeatReport(os.getpid(), scan, limit, self._level(), metrics)
