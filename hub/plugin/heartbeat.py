"""The heartbeat of a plugin process: a file that the event loop writes to show that it is running."""

import contextlib
import os
from pathlib import Path

from hub.api.plugin import Plugin
from hub.base.log import current_level
from hub.base.statusfile import StatusFile
from hub.base.ticks import sleep_until_tick
from hub.model.heartbeat import HeartbeatReport
from hub.plugin.devices.scanner import Scanner
from hub.plugin.metrics.plugin import PluginMetrics
from hub.plugin.metrics.process import ProcessMetrics


class Heartbeat:
    """Writes the heartbeat.

    Args:
        path: The file; None if nothing reads it.
        interval: Seconds between heartbeats.
        plugin: The plugin, which may have metrics of its own.
        scanner: The scan in progress.
        metrics: The process's metrics.
    """

    def __init__(
        self, path: Path | None, interval: float, plugin: Plugin, scanner: Scanner, metrics: ProcessMetrics
    ) -> None:
        self._path = path
        self._interval = interval
        self._scanner = scanner
        self._metrics = metrics
        self._file = StatusFile(path, self._report)
        self._plugin_metrics = PluginMetrics(plugin, self._file)
        self._is_handing_over = False

    async def run(self) -> None:
        """Write heartbeats until cancelled."""
        while True:
            self.beat()
            self._plugin_metrics.refresh()
            await sleep_until_tick(self._interval)

    def begin_handover(self) -> None:
        """Let the hub know that the process has been stopped, and will exit once another hub has its devices."""
        self._is_handing_over = True
        self.beat()

    def beat(self) -> None:
        """Write the file, or at least set its modification time, which works even on a full disk."""
        self._file.write()
        if self._path:
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def _report(self) -> HeartbeatReport:
        scan, limit = self._scanner.running()
        metrics = (*self._metrics.metrics(), *self._plugin_metrics.latest)
        return HeartbeatReport(os.getpid(), scan, limit, current_level(), metrics, self._is_handing_over)
