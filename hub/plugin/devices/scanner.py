"""When a plugin is scanned: on a period, on request, and when the plugin's watch reports a change."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from hub.api.plugin import NeedsRestart, Plugin, overrides
from hub.base.log import get_logger
from hub.base.threads import start_call
from hub.plugin.devices.scan import Scan, overdue, restart_request, scan
from hub.plugin.metrics.process import ProcessMetrics

COALESCE = 0.02
"""Seconds between the end of one scan and the next: a burst of events is one change, and each list costs the kubelet a
checkpoint on disk."""

WATCH_RETRY = (1.0, 30.0)
"""Seconds to wait before a failed watch is started again, and that it then has to hold before it is believed: at first,
and at most. They double with each failure."""


class Scanner:
    """Runs `Plugin.devices` and `Plugin.watch` in threads, never two scans at once.

    Args:
        plugin: Who is asked.
        report: Gets each scan, on the event loop.
        meter: Measures how long scans take.
    """

    def __init__(self, plugin: Plugin, report: Callable[[Scan], None], meter: ProcessMetrics) -> None:
        self._plugin = plugin
        self._report = report
        self._meter = meter
        self._scans = 0
        self._scanning = False
        self._requested = asyncio.Event()
        self._watch_failure = ""
        self._log = get_logger()

    def request(self) -> None:
        """Scan soon; many requests make one scan."""
        self._requested.set()

    def running(self) -> tuple[int, float]:
        """The number of the scan that runs, 0 when none does, and the seconds that the plugin gives it."""
        return self._scans if self._scanning else 0, self._plugin.scan_timeout

    async def run(self) -> None:
        """Scan for ever."""
        async with asyncio.TaskGroup() as tasks:
            if overrides(self._plugin, "watch"):
                tasks.create_task(self._watch())
            while True:
                self._requested.clear()
                await self._scan()
                await asyncio.sleep(COALESCE)
                # Not wait_for, which before Python 3.12 forgets that it was cancelled when a request comes just then.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._plugin.scan_interval):
                        await self._requested.wait()

    async def _scan(self) -> None:
        distrust = self._watch_failure
        self._scans, self._scanning, begin = self._scans + 1, True, time.perf_counter()
        scanning = start_call(self._plugin.devices, lambda: scan(self._plugin, distrust))
        done, _ = await asyncio.wait([scanning], timeout=self._plugin.scan_timeout)
        if not done:
            self._report(overdue(self._plugin, scanning))
        found = await scanning
        self._scanning = False
        self._meter.scan_ended(time.perf_counter() - begin)
        self._report(found)

    async def _watch(self) -> None:
        """Keep the plugin's watch running. While it cannot, changes would go unseen, so the devices are not trusted."""
        loop = asyncio.get_running_loop()
        first, longest = WATCH_RETRY
        delay = 0.0

        def changed() -> None:
            loop.call_soon_threadsafe(self.request)

        while True:
            begin = loop.time()
            watching = start_call(self._plugin.watch, lambda: self._plugin.watch(changed))
            await asyncio.wait([watching], timeout=delay if self._watch_failure else None)
            if not watching.done():
                self._set_watch_failure("")
                await asyncio.wait([watching])
            failure = watching.exception()
            if failure is None:
                self._set_watch_failure("")
                return
            if isinstance(failure.__cause__, NeedsRestart):
                self._report(restart_request(failure.__cause__))
                return
            self._set_watch_failure(str(failure))
            held = loop.time() - begin > longest
            delay = first if held or not delay else min(2 * delay, longest)
            await asyncio.sleep(delay)

    def _set_watch_failure(self, failure: str) -> None:
        """Take the devices for unhealthy, or no longer; the next scan says so."""
        if failure != self._watch_failure:
            self._watch_failure = failure
            self.request()
