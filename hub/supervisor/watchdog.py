"""Notices plugin processes that live and do nothing: their event loop hangs, or their hardware does not answer.

Time counts only while the hub itself turns and looks. So a node that was suspended, or a hub that was starved, takes no
plugin for hung that had no chance to show its life either.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from hub.log import get_logger
from hub.paths import RunDir
from hub.state.files import read_file
from hub.state.pulse import INTERVAL, Pulse, pulse_interval
from hub.supervisor.watcher import PluginWatcher


class Watched:
    """One process under the watchdog's eyes.

    Args:
        limit: Seconds without a sign of life.
        expected: Whether it will give signs of life at all, and has to before long.
    """

    def __init__(self, limit: float, *, expected: bool) -> None:
        self._limit = limit
        self._expected = expected
        self._seen: Pulse | None = None
        self._silent = 0.0
        self._scanning = 0.0

    def look(self, pulse: Pulse | None, passed: float) -> str:
        """Take in the process's last pulse, so many seconds after the one before; why it is hung, or nothing."""
        if pulse is None:
            self._silent += passed
            hung = self._expected and self._silent > self._limit
            return f"it has not begun to serve within {self._limit:g} s" if hung else ""
        before, self._seen = self._seen, pulse
        fresh = before is None or before.turned != pulse.turned
        self._silent = 0 if fresh else self._silent + passed
        same_scan = before is not None and pulse.scan and before.scan == pulse.scan
        self._scanning = self._scanning + passed if same_scan else 0
        if self._silent > self._limit:
            return f"its event loop has not turned for {self._limit:g} s"
        scan_limit = max(self._limit, pulse.scan_limit)
        return f"its hardware has not answered for {scan_limit:g} s" if self._scanning > scan_limit else ""


class Watchdog:
    """Kills processes that hang.

    Args:
        run_dir: Where the pulses are.
        watchers: Tells all plugins.
    """

    def __init__(self, run_dir: RunDir, watchers: Callable[[], Iterable[PluginWatcher]]) -> None:
        self._run_dir = run_dir
        self._watchers = watchers
        self._watched: dict[int, Watched] = {}
        self._killing: set[asyncio.Task[None]] = set()
        self._log = get_logger()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            interval = min((pulse_interval(watcher.config.watchdog) for watcher in self._watchers()), default=INTERVAL)
            await asyncio.sleep(interval)
            self._look(interval)

    def _look(self, passed: float) -> None:
        watched: dict[int, Watched] = {}
        for watcher in self._watchers():
            limit, ours = watcher.config.watchdog, watcher.config.is_hub_plugin
            for pid in watcher.processes if limit else ():
                watched[pid] = self._watched.get(pid) or Watched(limit, expected=ours)
                why = watched[pid].look(self._pulse(watcher.name, pid), passed)
                if why:
                    self._kill(watcher, pid, why)
                    watched[pid] = Watched(limit, expected=ours)
        self._watched = watched

    def _pulse(self, name: str, pid: int) -> Pulse | None:
        """The last pulse of this process; None where there is none, or another process wrote it."""
        pulse = _read(self._run_dir.pulse(name))
        return pulse if pulse and pulse.pid == pid else None

    def _kill(self, watcher: PluginWatcher, pid: int, why: str) -> None:
        killing = asyncio.ensure_future(watcher.kill_hung(pid, why))
        self._killing.add(killing)
        killing.add_done_callback(self._killing.discard)


def _read(path: Path) -> Pulse | None:
    try:
        return read_file(path, Pulse)
    except (OSError, msgspec.DecodeError):
        return None
