"""Notices plugin processes that live and do nothing: their event loop hangs, or their hardware does not answer.

Another program than a plugin process of the hub's own is left alone: nobody knows what it does when it is well.

Time counts only while the hub itself turns and looks. So a node that was suspended, or a hub that was starved, takes no
plugin for hung that had no chance to show its life either.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from hub.base.jsonfile import read_file
from hub.base.log import get_logger
from hub.base.paths import RunDir
from hub.model.heartbeat import INTERVAL, HeartbeatReport, heartbeat_interval, touch_heartbeat
from hub.supervisor.circus.arbiter import HubArbiter
from hub.supervisor.circus.watcher import PluginWatcher


class Sample(NamedTuple):
    """What there is to see of a process at one moment."""

    moved: int
    """When it last showed that its event loop turns: some number that changes each time."""
    heartbeat: bool = False
    """Whether it has told anything yet."""
    scan: int = 0
    """The number of the scan that it is at; 0 for none, or none that is known."""
    scan_limit: float = 0
    """Seconds that it gives a scan."""


class ProcessMonitor:
    """One process under the watchdog's eyes.

    Args:
        limit: Seconds without a sign of life.
        at_start: What there was to see before it began.
    """

    def __init__(self, limit: float, at_start: Sample) -> None:
        self._limit = limit
        self._begun = False
        self._seen = at_start
        self._silent = 0.0
        self._scanning = 0.0

    def look(self, sign: Sample, passed: float) -> str:
        """Take in what there is to see, so many seconds after the last look; why it is hung, or nothing."""
        before, self._seen = self._seen, sign
        fresh = before.moved != sign.moved
        self._begun |= fresh or sign.heartbeat
        self._silent = 0 if fresh else self._silent + passed
        self._scanning = self._scanning + passed if sign.scan and before.scan == sign.scan else 0
        if self._silent > self._limit:
            if self._begun:
                return f"its event loop has not turned for {self._limit:g} s"
            return f"it has not begun to serve within {self._limit:g} s"
        scan_limit = max(self._limit, sign.scan_limit)
        return f"its hardware has not answered for {scan_limit:g} s" if self._scanning > scan_limit else ""


class Watchdog:
    """Kills processes that hang, and shows that the hub itself does not.

    Args:
        run_dir: Where the pulses are, the hub's own too.
        arbiter: Has the plugins.
    """

    def __init__(self, run_dir: RunDir, arbiter: HubArbiter) -> None:
        self._run_dir = run_dir
        self._arbiter = arbiter
        self._watched: dict[int, ProcessMonitor] = {}
        self._killing: set[asyncio.Task[None]] = set()
        self._log = get_logger()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            self.beat()
            interval = min(
                (heartbeat_interval(watcher.config.watchdog) for watcher in self._arbiter.watchers), default=INTERVAL
            )
            await asyncio.sleep(interval)
            self._look(interval)

    def beat(self) -> None:
        """Show that the hub's own event loop turns."""
        # A directory that takes no file is no reason to leave the plugins unwatched.
        with suppress(OSError):
            touch_heartbeat(self._run_dir.hub_heartbeat)

    def _look(self, passed: float) -> None:
        watched: dict[int, ProcessMonitor] = {}
        for watcher in self._arbiter.watchers:
            limit = watcher.config.watchdog if watcher.config.is_hub_plugin else 0
            for pid in watcher.processes if limit else ():
                sign = self._sample(watcher.name, pid)
                if sign is None:
                    continue
                watched[pid] = self._watched.get(pid) or ProcessMonitor(limit, sign)
                why = watched[pid].look(sign, passed)
                if why:
                    self._kill(watcher, pid, why)
                    watched[pid] = ProcessMonitor(limit, sign)
        self._watched = watched

    def _sample(self, name: str, pid: int) -> Sample | None:
        """What there is to see of a process; None where a directory that takes no file makes all look dead."""
        path = self._run_dir.heartbeat(name)
        try:
            if not path.exists():
                path.touch()
            moved = path.stat().st_mtime_ns
        except OSError:
            return None
        pulse = _read(path)
        if pulse is None or pulse.pid != pid:
            return Sample(moved)
        return Sample(moved, True, pulse.scan, pulse.scan_limit)  # noqa: FBT003 - as the fields are named

    def _kill(self, watcher: PluginWatcher, pid: int, why: str) -> None:
        killing = asyncio.ensure_future(watcher.kill_unresponsive(pid, why))
        self._killing.add(killing)
        killing.add_done_callback(self._killing.discard)


def _read(path: Path) -> HeartbeatReport | None:
    try:
        return read_file(path, HeartbeatReport)
    except (OSError, msgspec.DecodeError):
        return None
