"""A plugin process from start to stop."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from hub.errors import ConfigError
from hub.exits import Exit
from hub.log import get_logger
from hub.paths import RunDir
from hub.plugin.checks import resource_problem
from hub.plugin.contract import Plugin
from hub.plugin.device import Device, Excluded
from hub.plugin.healthbook import HealthBook
from hub.plugin.preparation import Preparation
from hub.plugin.resource import Resource
from hub.plugin.scanner import Scan, Scanner
from hub.plugin.snapshot import Snapshot
from hub.plugin.statefile import StateFile
from hub.state import ExcludedState, PluginState, Registration, ResourceState

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the sockets. Whoever starts a plugin by hand waits this long after a kubelet restart;
under the hub a signal comes first."""


class PluginProcess:
    """Serves one plugin until it is told to stop.

    Args:
        plugin: The plugin.
        name: What the process is called in logs and state.
        plugin_dir: The kubelet's plugin directory.
        run_dir: Where the state goes and whose instance the sockets belong to.
        keep_state: Whether anybody reads the state.
    """

    def __init__(self, plugin: Plugin, name: str, plugin_dir: Path, run_dir: RunDir, *, keep_state: bool) -> None:
        self._plugin = plugin
        self._name = name
        self._plugin_dir = plugin_dir
        self._instance = run_dir.instance
        self._started = time.time()
        self._directory: int | None = None
        self._resources: dict[str, Resource] = {}
        self._refused: dict[str, ResourceState] = {}
        self._reason = ""
        self._excluded: tuple[Excluded, ...] = ()
        self._exit = Exit.OK
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._scanner = Scanner(plugin, self._take)
        self._state_file = StateFile(run_dir.state(name) if keep_state else None, self._state)
        self._health = HealthBook(run_dir.health(name) if keep_state else None, plugin.recovery, self._judge_soon)
        self._judging: asyncio.Handle | None = None
        self._preparation = Preparation(plugin, self._health, self._offer, plugin_dir, self._state_file.touch)
        self._log = get_logger()

    async def serve(self) -> Exit:
        """Serve until a signal says stop, or until there is no point in going on."""
        self._handle_signals()
        self._log.info("serving", plugin_dir=str(self._plugin_dir), pid=os.getpid())
        self._state_file.touch()
        async with asyncio.TaskGroup() as self._group:
            self._run(self._scanner.run())
            self._run(self._keep_checking())
            self._run(self._preparation.run())
            await self._stop.wait()
            for task in self._tasks:
                task.cancel()
        self._state_file.write()
        self._health.save()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._log.info("no longer serving")
        return self._exit

    def _run(self, work: "asyncio._CoroutineLike[None]") -> None:
        self._tasks.append(self._group.create_task(work))

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        # Not by the loop, which gives a signal its default back when it closes, and that of SIGHUP is to kill.
        signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(self._refresh))
        # It was blocked from the start, so that it killed nobody before this line.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def _refresh(self) -> None:
        """Scan anew and make sure of every registration."""
        self._check_directory()
        self._scanner.request()
        for resource in self._resources.values():
            resource.hurry()

    async def _keep_checking(self) -> None:
        while True:
            self._check_directory()
            self._health.pass_time()
            for resource in self._resources.values():
                resource.check()
            await asyncio.sleep(CHECK_INTERVAL)

    def _check_directory(self) -> None:
        """Give up when the plugin directory is not the one it was.

        A mount goes on showing a directory that was removed and never the new one: no socket in it can be reached by a
        kubelet, and waiting does not help.
        """
        if self._directory is None:
            with contextlib.suppress(OSError):
                # Held open, so that the number that tells it from the next one is not given away again.
                self._directory = os.open(self._plugin_dir, os.O_PATH | os.O_DIRECTORY)
        elif not self._stop.is_set() and not _is_at(self._directory, self._plugin_dir):
            self._log.error("plugin directory was removed or made anew", plugin_dir=str(self._plugin_dir))
            self._exit = Exit.PLUGIN_DIR_REPLACED
            self._stop.set()

    def _take(self, scan: Scan) -> None:
        """Bring the resources in step with what a scan found."""
        if scan.reason != self._reason:
            say = self._log.warning if scan.failed else self._log.info
            say("scan", reason=scan.reason or "all is well again")
            self._reason = scan.reason
            self._state_file.touch()
        self._refused = {name: state for name, state in self._refused.items() if name in scan.snapshots or scan.failed}
        for name in scan.snapshots:
            if name not in self._resources and name not in self._refused:
                self._add(name)
        gone = Snapshot(reason=scan.reason or "the plugin offers no device of this resource any more")
        for name, resource in self._resources.items():
            if scan.failed:
                resource.distrust(scan.reason)
            else:
                resource.advertise(scan.snapshots.get(name, gone))
        if not scan.failed and scan.excluded != self._excluded:
            self._exclude(scan.excluded)
        if scan.hopeless:
            self._log.error("only a new process can go on", reason=scan.reason)
            self._exit = Exit.NEEDS_RESTART
            self._stop.set()

    def _exclude(self, excluded: tuple[Excluded, ...]) -> None:
        for each in excluded:
            if each not in self._excluded:
                self._log.info("left out", device=each.id, reason=each.reason)
        self._excluded = excluded
        self._state_file.touch()

    def _add(self, name: str) -> None:
        """Serve a resource from now on, unless no kubelet would take it."""
        problem = resource_problem(name)
        try:
            if not problem:
                resource = Resource(
                    self._plugin,
                    name,
                    self._instance,
                    self._plugin_dir,
                    health=self._health,
                    prepare=self._preparation.prepare,
                    changed=self._state_file.touch,
                )
                self._resources[name] = resource
                self._run(resource.run())
        except ConfigError as error:
            problem = str(error)
        if problem:
            self._log.error("resource left out", resource=name, reason=problem)
            self._refused[name] = ResourceState(name, "", Registration.INVALID, time.time(), detail=problem)
            self._state_file.touch()

    def _offer(self) -> Iterator[tuple[str, Device]]:
        return ((name, device) for name, resource in self._resources.items() for device in resource.devices)

    def _judge_soon(self) -> None:
        """Advertise what the health book has by then; many changes make one list."""
        if self._judging is None:
            self._judging = asyncio.get_running_loop().call_soon(self._judge)

    def _judge(self) -> None:
        self._judging = None
        for resource in self._resources.values():
            resource.judge()

    def _state(self) -> PluginState:
        resources = [resource.state() for resource in self._resources.values()]
        return PluginState(
            plugin=self._name,
            pid=os.getpid(),
            started=self._started,
            resources=(*resources, *self._refused.values()),
            reason=self._reason,
            excluded=tuple(ExcludedState(each.id, each.reason) for each in self._excluded),
            resets=self._preparation.results,
            reset_counts=self._preparation.counts,
        )


def _is_at(directory: int, path: Path) -> bool:
    """Whether an open directory is still what a path leads to."""
    opened = os.fstat(directory)
    try:
        return opened.st_nlink > 0 and os.path.samestat(opened, path.stat())
    except OSError:
        return False
