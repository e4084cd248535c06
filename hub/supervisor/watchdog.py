"""Finds plugin processes that run but are unresponsive: their event loop hangs, or their hardware does not respond.

Programs other than plugin processes of the hub are not watched, because their normal behavior is unknown.

Time counts only while the hub itself is running. So after the node was suspended, or when the hub got no CPU time, a
plugin that had no chance to write a heartbeat is not killed.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hub.base.jsonfile import read_file
from hub.base.log import get_logger
from hub.base.paths import RunDir
from hub.base.ticks import sleep_until_tick
from hub.base.untrusted import UnreadableError
from hub.model.heartbeat import INTERVAL, HeartbeatReport, create_heartbeat, heartbeat_interval, touch_heartbeat
from hub.supervisor.circus.arbiter import HubArbiter
from hub.supervisor.circus.watcher import PluginWatcher

START_LIMIT = 60.0
"""Minimum seconds that a process gets to start. On a node that has just booted, everything starts at once, and a
process that is killed for being slow only has to start again."""


class Sample(NamedTuple):
    """The state of a process at one moment."""

    beat_time: int
    """The time of its last heartbeat: any number that changes with each heartbeat."""
    heartbeat: bool = False
    """Whether it has written a heartbeat file yet."""
    scan: int = 0
    """The number of the running scan; 0 if none is running or known."""
    scan_limit: float = 0
    """Seconds that a scan may take."""


class ProcessMonitor:
    """Decides whether one process is unresponsive.

    Args:
        limit: Seconds without a heartbeat after which it is unresponsive, once it has started.
        at_start: The first sample.
    """

    def __init__(self, limit: float, at_start: Sample) -> None:
        self._limit = limit
        self._has_begun = False
        self._last = at_start
        self._unresponsive_for = 0.0
        self._scanning_for = 0.0

    def update(self, sample: Sample, elapsed: float) -> str:
        """Evaluate a sample, `elapsed` seconds after the last one; return why the process is unresponsive, if it is."""
        before, self._last = self._last, sample
        is_fresh = before.beat_time != sample.beat_time
        self._has_begun |= is_fresh or sample.heartbeat
        self._unresponsive_for = 0 if is_fresh else self._unresponsive_for + elapsed
        self._scanning_for = self._scanning_for + elapsed if sample.scan and before.scan == sample.scan else 0
        limit = self._limit if self._has_begun else max(self._limit, START_LIMIT)
        if self._unresponsive_for > limit:
            if self._has_begun:
                return f"its event loop has not run for {limit:g} s"
            return f"it did not start serving within {limit:g} s"
        scan_limit = max(self._limit, sample.scan_limit)
        return f"its hardware has not responded for {scan_limit:g} s" if self._scanning_for > scan_limit else ""


class Watchdog:
    """Kills unresponsive processes, and writes the hub's own heartbeat.

    Args:
        run_dir: Where the heartbeat files are, including that of the hub.
        arbiter: The arbiter with the plugins.
    """

    def __init__(self, run_dir: RunDir, arbiter: HubArbiter) -> None:
        self._run_dir = run_dir
        self._arbiter = arbiter
        self._watched: dict[int, ProcessMonitor] = {}
        self._killing: set[asyncio.Task[None]] = set()
        self._log = get_logger()

    async def run(self) -> None:
        """Watch the plugins until cancelled."""
        while True:
            self.beat()
            interval = min(
                (heartbeat_interval(watcher.config.watchdog) for watcher in self._arbiter.watchers), default=INTERVAL
            )
            self._check_plugins(await sleep_until_tick(interval))

    def beat(self) -> None:
        """Write the hub's own heartbeat."""
        # When the file system is full, the plugins still have to be watched.
        with suppress(OSError):
            touch_heartbeat(self._run_dir.hub_heartbeat)

    def _check_plugins(self, elapsed: float) -> None:
        watched: dict[int, ProcessMonitor] = {}
        for watcher in self._arbiter.watchers:
            limit = watcher.config.watchdog if watcher.config.is_hub_plugin else 0
            for pid in watcher.processes if limit else ():
                sample = self._sample(watcher.name, pid)
                if sample is None:
                    continue
                watched[pid] = self._watched.get(pid) or ProcessMonitor(limit, sample)
                reason = watched[pid].update(sample, elapsed)
                if reason:
                    self._kill(watcher, pid, reason)
                    watched[pid] = ProcessMonitor(limit, sample)
        self._watched = watched

    def _sample(self, name: str, pid: int) -> Sample | None:
        """Return the state of a process; None if the file system is full: all processes would look unresponsive."""
        path = self._run_dir.heartbeat(name)
        try:
            create_heartbeat(path)
            beat_time = path.lstat().st_mtime_ns
        except OSError:
            return None
        report = _read(path)
        if report is None or report.pid != pid:
            return Sample(beat_time)
        return Sample(beat_time, heartbeat=True, scan=report.scan, scan_limit=report.scan_limit)

    def _kill(self, watcher: PluginWatcher, pid: int, reason: str) -> None:
        killing = asyncio.ensure_future(watcher.kill_unresponsive(pid, reason))
        self._killing.add(killing)
        killing.add_done_callback(self._killing.discard)


def _read(path: Path) -> HeartbeatReport | None:
    try:
        return read_file(path, HeartbeatReport)
    except UnreadableError:
        return None
