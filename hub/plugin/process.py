"""A plugin process from start to stop."""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hub.api.plugin import Plugin
from hub.base.exits import Exit
from hub.base.log import get_logger
from hub.base.optional import optional
from hub.base.statusfile import StatusFile
from hub.base.stopsignals import stop_signals
from hub.base.tasks import Tasks, Work
from hub.base.ticks import sleep_until_tick
from hub.kubelet.checkpoint import Checkpoint
from hub.model.heartbeat import heartbeat_interval
from hub.model.plugin import ConfigFile, PluginReport
from hub.plugin.admin.commands import AdminCommands
from hub.plugin.admin.server import AdminServer
from hub.plugin.deviceplugin.api import DevicePluginApi
from hub.plugin.deviceplugin.socketdir import SocketDir
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.nodelabels import NodeLabels
from hub.plugin.devices.scanner import Scanner
from hub.plugin.files import PluginFiles
from hub.plugin.health.store import HealthStore
from hub.plugin.heartbeat import Heartbeat
from hub.plugin.history import History
from hub.plugin.holders import Holders
from hub.plugin.kubeletapi import ApiParts, KubeletApi
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership, Role
from hub.plugin.report import Reporter
from hub.plugin.resets.retrier import Retrier
from hub.plugin.resets.service import ResetService

if TYPE_CHECKING:
    from hub.plugin.dra.records import ClaimRecords

FILE_CHECK_INTERVAL = 5.0
"""Seconds between checks of the files and sockets, in case a signal or an event was missed."""

HANDOVER_CHECK_INTERVAL = 2.0
"""Seconds between these checks while there are other hubs. The kernel reports when one of them registers a resource or
exits; should such an event be missed, the devices must not be without an owner for a long time."""


class PluginProcess:
    """Serves one plugin until it is stopped.

    Args:
        plugin: The plugin.
        plugin_dir: The kubelet's plugin directory.
        files: Where the process writes its reports, and the hub to which its sockets belong.
        watchdog: Seconds without a heartbeat after which the hub kills the process as unresponsive; 0 disables that.
        config: The configuration file that the plugin has read.
    """

    def __init__(
        self,
        plugin: Plugin,
        plugin_dir: Path,
        files: PluginFiles,
        *,
        watchdog: float = 0,
        config: ConfigFile | None = None,
    ) -> None:
        self._exit = Exit.OK
        self._stop = asyncio.Event()
        self._log = get_logger()
        self._directory = SocketDir(plugin_dir)
        # From the bottom up: each part uses only parts that are created before it.
        self._metrics = ProcessMetrics()
        self._status = StatusFile(files.report, self._report)
        self._tasks = Tasks(self._status)
        self._ownership = Ownership(files.run_dir, files.name, plugin_dir)
        self._health = HealthStore(files.health, plugin.recovery, self._ownership, external=files.external_faults)
        self._inventory = self._make_inventory(plugin, plugin_dir)
        self._history = History(files.history, self._inventory, self._ownership, self._metrics)
        retired = files.retired_drivers
        self._records = _claim_records(files) if files.driver or retired else None
        claims = self._records.holders if self._records else dict
        self._holders = Holders(plugin_dir, self._inventory, self._status, self._history, claims)
        self._resets = ResetService(plugin, self._health, self._inventory, self._metrics, self._status)
        self._retrier = self._make_retrier(plugin, plugin_dir)
        self._api = self._make_api(plugin, plugin_dir, files, retired)
        self._labels = NodeLabels(files.features_dir, files.name, self._inventory, self._ownership)
        self._scanner = Scanner(plugin, self._inventory, self._labels, self._metrics)
        self._heartbeat = Heartbeat(files.heartbeat, heartbeat_interval(watchdog), plugin, self._scanner, self._metrics)
        self._admin = AdminServer(files.admin_socket, self._make_commands())
        self._reporter = self._make_reporter(plugin, files.name, config)

    def _make_inventory(self, plugin: Plugin, plugin_dir: Path) -> Inventory:
        return Inventory(
            type(plugin),
            self._health,
            self._ownership,
            checkpoint=Checkpoint(plugin_dir),
            metrics=self._metrics,
            status=self._status,
        )

    def _make_retrier(self, plugin: Plugin, plugin_dir: Path) -> Retrier:
        return Retrier(
            plugin,
            plugin_dir,
            inventory=self._inventory,
            health=self._health,
            resets=self._resets,
            holders=self._holders,
        )

    def _make_api(self, plugin: Plugin, plugin_dir: Path, files: PluginFiles, retired: Sequence[str]) -> KubeletApi:
        parts = ApiParts(
            plugin,
            plugin_dir,
            inventory=self._inventory,
            resets=self._resets,
            holders=self._holders,
            health=self._health,
            ownership=self._ownership,
            metrics=self._metrics,
            status=self._status,
            tasks=self._tasks,
        )
        if self._records is None:
            return DevicePluginApi(parts, files.instance)
        from hub.plugin.dra.retired import serve_drivers  # noqa: PLC0415 - not loaded by a plugin that does not use it

        return serve_drivers(
            parts,
            None if files.driver else DevicePluginApi(parts, files.instance),
            files.driver,
            evict=files.evict,
            retired=retired,
            run_dir=files.required_run_dir,
            records=self._records,
        )

    def _make_commands(self) -> AdminCommands:
        return AdminCommands(
            ownership=self._ownership,
            health=self._health,
            inventory=self._inventory,
            holders=self._holders,
            resets=self._resets,
            heartbeat=self._heartbeat,
            status=self._status,
        )

    def _make_reporter(self, plugin: Plugin, name: str, config: ConfigFile | None) -> Reporter:
        return Reporter(
            plugin,
            name,
            config,
            inventory=self._inventory,
            api=self._api,
            health=self._health,
            holders=self._holders,
            resets=self._resets,
            ownership=self._ownership,
            tasks=self._tasks,
        )

    async def serve(self) -> Exit:
        """Serve until a signal stops the process, or until only another process can continue."""
        self._handle_signals()
        self._log.info("process started", plugin_dir=str(self._directory.path), pid=os.getpid())
        self._status.mark_changed()
        self._ownership.refresh()
        with optional("node labels"):
            self._labels.expire_earlier()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._tasks.run(name, work)) for name, work in self._work()]
            await self._stop.wait()
            await self._hand_over()
            for task in tasks:
                task.cancel()
        self._status.write()
        self._health.save()
        with optional("node labels"):
            self._labels.expire()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._log.info("process stopped")
        return self._exit

    def _work(self) -> Iterator[tuple[str, Work]]:
        """Yield the tasks of the process: those that serve the kubelet work without the others."""
        yield "heartbeat", self._heartbeat.run
        yield "kubelet API", self._api.run
        yield "scan", self._scan
        yield "check of files and sockets", self._keep_checking
        yield "query for devices in use", self._holders.run
        yield "recovery of devices", self._retrier.run
        yield "admin socket", self._admin.run
        # Last: importing asyncinotify takes a few milliseconds, in which the others could already run.
        if self._ownership.is_shared:
            yield "check of the lock", self._ownership.keep_lock
            yield "watch for other hubs", self._watch_hubs
        if not self._ownership.has_hub:
            yield "watch for the kubelet", self._watch_kubelet

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, self._stop.set)

        def refresh(*_: object) -> None:
            loop.call_soon_threadsafe(self._refresh)

        # The loop would restore a signal's default action when it closes; SIGHUP's is to terminate the process.
        signal.signal(signal.SIGHUP, refresh)
        # SIGHUP was blocked from the start, so that it could not terminate the process before this line.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def _refresh(self) -> None:
        """Scan again and verify every registration."""
        self._check_directory()
        self._check_ownership()
        self._scanner.request()
        self._api.reregister()

    async def _scan(self) -> None:
        reason = await self._scanner.run()
        self._log.error("plugin requested restart", reason=reason)
        self._end(Exit.NEEDS_RESTART)
        await asyncio.Event().wait()

    async def _keep_checking(self) -> None:
        while True:
            self._check_directory()
            self._check_ownership()
            self._health.advance()
            self._health.refresh_external()
            self._health.restore()
            self._status.restore()
            self._inventory.check_departing()
            self._api.check()
            with optional("node labels"):
                self._labels.refresh()
            await sleep_until_tick(HANDOVER_CHECK_INTERVAL if self._ownership.others else FILE_CHECK_INTERVAL)

    async def _watch_hubs(self) -> None:
        async for _ in self._ownership.changes():
            self._check_ownership()
            self._api.check()

    async def _watch_kubelet(self) -> None:
        from hub.base.kubeletwatch import kubelet_starts  # noqa: PLC0415 - not loaded under a hub, which watches

        async for _ in kubelet_starts(self._directory.path):
            self._api.check()
        self._check_directory()
        await asyncio.Event().wait()

    async def _hand_over(self) -> None:
        """Hand the resources over to another hub, if there is one, before this process exits."""
        self._check_ownership()
        if self._ownership.others:
            self._heartbeat.begin_handover()
        await self._api.hand_over()

    def _check_directory(self) -> None:
        if not self._stop.is_set() and self._directory.replaced():
            self._log.error("plugin directory replaced", plugin_dir=str(self._directory.path))
            self._end(Exit.PLUGIN_DIR_REPLACED)

    def _check_ownership(self) -> None:
        """Notice other hubs. A process in standby scans again once the older hub is gone: it then has to serve."""
        role = self._health.refresh_role()
        if self._stop.is_set():
            self._yield_devices(role)
        elif role is Role.STANDBY and self._inventory.scanned and not self._ownership.older:
            self._scanner.request()

    def _yield_devices(self, role: Role) -> None:
        """Leave the devices to another hub's plugin if one is serving; it continues with the health records."""
        ownership = self._ownership
        if role in {Role.ACTIVE, Role.SUPERSEDED} and (ownership.older or ownership.newer):
            self._health.save()
            ownership.release()

    def _end(self, code: Exit) -> None:
        self._exit = code
        self._stop.set()

    def _report(self) -> PluginReport:
        return self._reporter.build()


def _claim_records(files: PluginFiles) -> "ClaimRecords":
    from hub.plugin.dra.records import ClaimRecords  # noqa: PLC0415 - as above

    return ClaimRecords(files.required_run_dir.claims(files.name))
