"""A plugin process from start to stop."""

import asyncio
import os
import signal
from pathlib import Path

from hub.api.plugin import Plugin
from hub.base.exits import Exit
from hub.base.log import current_level, get_logger
from hub.base.paths import RunDir
from hub.base.statusfile import StatusFile
from hub.model.admin import Request, Response
from hub.model.heartbeat import heartbeat_interval
from hub.model.plugin import ConfigState, PluginReport
from hub.plugin.admin.commands import AdminCommands
from hub.plugin.admin.server import AdminServer
from hub.plugin.deviceplugin.api import DevicePluginApi
from hub.plugin.deviceplugin.socketdir import SocketDir
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.scan import Scan
from hub.plugin.devices.scanner import Scanner
from hub.plugin.health.store import HealthStore
from hub.plugin.heartbeat import Heartbeat
from hub.plugin.holders import Holders
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership, Role
from hub.plugin.report import Reporter
from hub.plugin.resets.service import ResetService

CHECK_INTERVAL = 2.0
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
        watchdog: Seconds without a pulse after which the hub takes the process for hung; 0 for never.
        config: The configuration file that the plugin has read.
    """

    def __init__(
        self,
        plugin: Plugin,
        name: str,
        plugin_dir: Path,
        run_dir: RunDir,
        *,
        keep_state: bool,
        watchdog: float = 0,
        config: ConfigState | None = None,
    ) -> None:
        self._directory = SocketDir(plugin_dir)
        self._exit = Exit.OK
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._meter = ProcessMetrics()
        self._neighbours = Ownership(run_dir if keep_state else None, name, plugin_dir)
        self._state_file = StatusFile(run_dir.report(name) if keep_state else None, self._state)
        changed = self._state_file.mark_changed
        self._scanner = Scanner(plugin, self._take, self._meter)
        health_file = run_dir.health(name) if keep_state else None
        self._health = HealthStore(health_file, plugin.recovery, self._neighbours)
        self._resources = Inventory(type(plugin), self._health, self._neighbours, self._meter, self._state_file)
        offer = self._resources.all_devices
        self._preparation = ResetService(
            plugin,
            self._health,
            offer,
            plugin_dir,
            ours=self._is_ours,
            meter=self._meter,
            changed=changed,
        )
        self._holding = Holders(plugin_dir, lambda: self._resources.names, changed)
        pulse = run_dir.heartbeat(name) if keep_state else None
        self._heart = Heartbeat(
            pulse, heartbeat_interval(watchdog), self._scanner.running, current_level, plugin=plugin, meter=self._meter
        )
        self._operator = AdminCommands(
            offer, self._health, self._preparation, self._holding, level_changed=self._heart.beat
        )
        self._control = AdminServer(run_dir.admin_socket(name) if keep_state else None, self._answer)
        self._api = DevicePluginApi(
            plugin,
            plugin_dir,
            run_dir.instance,
            inventory=self._resources,
            resets=self._preparation,
            holders=self._holding,
            ownership=self._neighbours,
            metrics=self._meter,
            status=self._state_file,
        )
        self._reporter = Reporter(
            plugin,
            name,
            config,
            inventory=self._resources,
            api=self._api,
            health=self._health,
            holders=self._holding,
            resets=self._preparation,
        )
        self._log = get_logger()

    async def serve(self) -> Exit:
        """Serve until a signal says stop, or until there is no point in going on."""
        self._handle_signals()
        self._log.info("serving", plugin_dir=str(self._directory.path), pid=os.getpid())
        self._state_file.mark_changed()
        self._neighbours.refresh()
        async with asyncio.TaskGroup() as self._group:
            self._run(self._heart.run())
            self._run(self._api.run())
            self._run(self._scanner.run())
            self._run(self._keep_checking())
            self._run(self._preparation.run())
            self._run(self._holding.run())
            self._run(self._control.run())
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
        self._check_ownership()
        self._scanner.request()
        self._api.reregister()

    async def _keep_checking(self) -> None:
        while True:
            self._check_directory()
            self._check_ownership()
            self._health.advance()
            self._health.restore()
            self._state_file.restore()
            self._api.check()
            await asyncio.sleep(CHECK_INTERVAL)

    def _check_directory(self) -> None:
        if not self._stop.is_set() and self._directory.replaced():
            self._log.error("plugin directory was removed or made anew", plugin_dir=str(self._directory.path))
            self._end(Exit.PLUGIN_DIR_REPLACED)

    def _check_ownership(self) -> None:
        """Notice other hubs. A process in standby scans again when the older hub is gone, for it has to serve then."""
        role = self._health.refresh_role()
        if role is Role.STANDBY and self._resources.scanned and not self._neighbours.older:
            self._scanner.request()

    def _is_ours(self) -> bool:
        return self._health.refresh_role() is Role.ACTIVE

    def _take(self, scan: Scan) -> None:
        self._resources.update(scan)
        if scan.needs_restart:
            self._log.error("only a new process can go on", reason=scan.reason)
            self._end(Exit.NEEDS_RESTART)

    def _end(self, code: Exit) -> None:
        self._exit = code
        self._stop.set()

    async def _answer(self, request: Request) -> Response:
        """Do what an operator asks; whoever has the answer finds in the state what came of it."""
        self._check_ownership()
        if newest := self._neighbours.newest:
            return Response(ok=False, message=f"hub {newest} has taken over this node; ask there")
        answer = await self._operator.answer(request)
        self._resources.publish()
        self._state_file.write()
        return answer

    def _state(self) -> PluginReport:
        return self._reporter.build()
