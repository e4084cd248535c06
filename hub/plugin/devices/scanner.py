"""When a plugin is scanned: at regular intervals, on request, and when the plugin's watch reports a change."""

import asyncio
import contextlib
import errno
import time

from hub.api.plugin import NeedsRestart, Plugin, overrides
from hub.base.calls import Calls
from hub.base.filewatch import LIMITS_REACHED, RAISE_LIMITS
from hub.base.log import get_logger
from hub.base.optional import optional
from hub.base.ticks import next_tick
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.nodelabels import NodeLabels
from hub.plugin.devices.scan import Scan, overdue, restart_request, scan
from hub.plugin.metrics.process import ProcessMetrics

COALESCE = 0.02
"""Seconds between the end of one scan and the next: a burst of events counts as one change, and each list costs the
kubelet a checkpoint on disk."""

WATCH_RETRY = (1.0, 30.0)
"""Initial and maximum delay, in seconds, before restarting a failed watch. The watch must then run for that long before
it is trusted. The delay doubles with each failure."""


_USED_UP = {*LIMITS_REACHED, errno.ENFILE}


class Scanner:
    """Runs scans and `Plugin.watch` in threads, never two scans at once.

    Args:
        plugin: The plugin.
        inventory: Gets the result of each scan.
        labels: Gets the labels that each scan finds.
        metrics: Measures how long scans take.
    """

    def __init__(self, plugin: Plugin, inventory: Inventory, labels: NodeLabels, metrics: ProcessMetrics) -> None:
        self._plugin = plugin
        self._calls = Calls()
        self._inventory = inventory
        self._labels = labels
        self._metrics = metrics
        self._scans = 0
        self._is_scanning = False
        self._requested = asyncio.Event()
        self._watch_failure = ""
        self._restart_reason = ""
        self._restart_needed = asyncio.Event()
        self._is_unwatched = False
        self._log = get_logger()

    def request(self) -> None:
        """Scan soon; several requests result in one scan."""
        self._requested.set()

    def running(self) -> tuple[int, float]:
        """Return the number of the running scan, 0 if there is none, and the seconds that the plugin allows a scan."""
        return self._scans if self._is_scanning else 0, self._plugin.scan_timeout

    async def run(self) -> str:
        """Scan until the plugin needs a new process; return why."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._keep_scanning())]
            if overrides(self._plugin, "watch"):
                tasks.append(group.create_task(self._watch()))
            await self._restart_needed.wait()
            for task in tasks:
                task.cancel()
        return self._restart_reason

    async def _keep_scanning(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._requested.clear()
            await self._scan()
            ended = loop.time()
            # Not wait_for, which before Python 3.12 forgets that it was cancelled if a request arrives at that moment.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_tick(self._plugin.scan_interval, ended)):
                    await self._requested.wait()
            if (rest := ended + COALESCE - loop.time()) > 0:
                await asyncio.sleep(rest)

    async def _scan(self) -> None:
        watch_failure = self._watch_failure
        self._scans, self._is_scanning, begin = self._scans + 1, True, time.perf_counter()
        scanning = self._calls.start(
            self._plugin.devices,
            lambda: scan(self._plugin, watch_failure, prepares=True, labels=self._labels.enabled),
        )
        done, _ = await asyncio.wait([scanning], timeout=self._plugin.scan_timeout)
        if not done:
            self._update(overdue(self._plugin, self._calls.location(scanning)))
        result = await scanning
        self._is_scanning = False
        self._metrics.scan_ended(time.perf_counter() - begin)
        self._update(result)

    def _update(self, result: Scan) -> None:
        if self._restart_needed.is_set():
            # The result of a scan that was already running no longer matters.
            return
        self._inventory.update(result)
        if result.needs_restart:
            self._restart_reason = result.reason
            self._restart_needed.set()
        with optional("node labels"):
            self._labels.update(result)

    async def _watch(self) -> None:
        """Keep the plugin's watch running. Without it, changes would go unseen, so the devices are not trusted."""
        loop = asyncio.get_running_loop()
        first, longest = WATCH_RETRY
        delay = 0.0

        def changed() -> None:
            loop.call_soon_threadsafe(self.request)

        while True:
            begin = loop.time()
            watching = self._calls.start(self._plugin.watch, lambda: self._plugin.watch(changed))
            await asyncio.wait([watching], timeout=delay if self._watch_failure else None)
            if not watching.done():
                self._set_watch_failure("")
                await asyncio.wait([watching])
            failure = watching.exception()
            if failure is None:
                self._set_watch_failure("")
                return
            if isinstance(failure.__cause__, NeedsRestart):
                self._update(restart_request(failure.__cause__))
                return
            is_used_up = isinstance(failure.__cause__, OSError) and failure.__cause__.errno in _USED_UP
            self._set_unwatched(is_used_up, str(failure))
            self._set_watch_failure("" if is_used_up else str(failure))
            is_stable = loop.time() - begin > longest
            delay = first if is_stable or not delay else min(2 * delay, longest)
            await asyncio.sleep(delay)

    def _set_unwatched(self, is_unwatched: bool, reason: str) -> None:  # noqa: FBT001 - the state
        """Log that, from now on, only the regular scans find changes. That is no reason to distrust the devices."""
        if is_unwatched and not self._is_unwatched:
            hint = f"{RAISE_LIMITS} on the node"
            self._log.warning("changes not watched", reason=reason, interval=self._plugin.scan_interval, hint=hint)
        self._is_unwatched = is_unwatched

    def _set_watch_failure(self, failure: str) -> None:
        """Have the next scan mark the devices as unhealthy, or clear that mark."""
        if failure != self._watch_failure:
            self._watch_failure = failure
            self.request()
