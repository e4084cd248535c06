"""circus's arbiter, embedded: the set of plugins, and what circusctl can do with it.

circus is imported only in this package, by modules that replace a part of it and by the client of a running hub. It
runs unpatched except for one name: see `_NoNameService`. What is replaced, and why:

- The global lock. circus rejects every command, and even skips reaping children, while another command is running: a
  SIGTERM during a restart is lost, and a plugin that is slow to stop keeps others from being restarted. Here, each
  watcher runs its own commands one after another, and watchers do not wait for each other.
- The configuration. circus drops a watcher that it cannot create, with a warning, and restarts everything when its own
  section changes. Here, `config` reads the file, and a reload affects only what has changed.
- Signals. circus's handlers need its lock. Here, `hub` handles all signals.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import circus.arbiter
import zmq
from circus.arbiter import Arbiter
from circus.controller import Controller
from circus.exc import AlreadyExist, MessageError
from tornado.ioloop import IOLoop

from hub.base.errors import ConfigError, HubError
from hub.base.featurefiles import feature_file
from hub.base.log import get_logger
from hub.base.optional import optional
from hub.base.removal import clear_path
from hub.model.hub import RestartReason
from hub.supervisor.circus import commands  # noqa: F401 - circus discovers its commands by their class
from hub.supervisor.circus.changes import ReloadResult
from hub.supervisor.circus.watcher import PluginWatcher
from hub.supervisor.config.ini import Section
from hub.supervisor.config.watchers import PluginConfig, plugin_from_section, read_config
from hub.supervisor.forkserver import ForkServer
from hub.supervisor.reporter import HubReporter
from hub.supervisor.settings import HubSettings

REAP_INTERVAL = 60.0
"""Seconds between checks for exited children without a SIGCHLD, which should never be needed but are cheap."""

_LINGER_MS = 200
"""Milliseconds that sending the response to the last command may take."""

_log = get_logger()


class _NoNameService:
    """Replaces `socket` in circus.arbiter, which looks up the host's name in DNS and would wait for a dead server."""

    getfqdn = gethostname = staticmethod(socket.gethostname)


circus.arbiter.socket = _NoNameService


class _NoSignals:
    def stop(self) -> None:
        """Do nothing: no handler was installed."""


class _Controller(Controller):  # type: ignore[misc] # circus has no types
    def _init_syshandler(self) -> None:
        self.sys_hdl = _NoSignals()


class HubArbiter(Arbiter):  # type: ignore[misc] # circus has no types
    """The plugins of one hub. Create it in the running event loop.

    Args:
        plugins: The plugins in circus.ini.
        settings: The settings of the hub.
        report: Records what happens to the plugins and to the configuration.
        fork_server: Starts the processes that it can start.
    """

    def __init__(
        self, plugins: Iterable[PluginConfig], settings: HubSettings, report: HubReporter, fork_server: ForkServer
    ) -> None:
        self._settings = settings
        self._report = report
        self._fork_server = fork_server
        self.children: dict[int, PluginWatcher] = {}
        """All plugin processes that have not been reaped, by process id."""
        self.stopped = asyncio.Event()
        """Set when all plugins were asked to stop and have exited, or will not exit."""
        self.all_exited = False
        self.stop_requested = asyncio.Event()
        self.stopping: asyncio.Task[None] | None = None
        """The task that stops the hub, once a stop was requested."""
        self._reloading = asyncio.Lock()
        super().__init__(
            [self._watcher(plugin) for plugin in plugins],
            f"ipc://{settings.run_dir.circus_socket}",
            f"ipc://{settings.run_dir.events}",
            check_delay=REAP_INTERVAL,
            context=zmq.Context(),
            loop=IOLoop.current(),
            umask=0o077,
            proc_name="dphub",
        )

    def _init_context(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.context = context
        self._ensure_ioloop()
        self.ctrl = _Controller(self.endpoint, None, context, self.loop, self, self.check_delay)

    @property
    def _exclusive_running_command(self) -> None:
        """The global lock of circus, which is never held here."""

    @_exclusive_running_command.setter
    def _exclusive_running_command(self, command: str | None) -> None:
        pass

    # For the hub.

    async def open(self) -> None:
        """Listen for circusctl and start the plugins.

        Raises:
            HubError: a socket cannot be bound.
        """
        try:
            for path in (self._settings.run_dir.circus_socket, self._settings.run_dir.events):
                clear_path(path)
            await self.start()
            self._fork_server.close()
        except (zmq.ZMQError, OSError) as error:
            raise HubError(f"cannot listen in {self._settings.run_dir.path}: {error.strerror}") from None

    def close(self) -> None:
        """Close the sockets."""
        if self.running:
            self.ctrl.ctrl_socket.linger = _LINGER_MS
            self.stop_controller_and_close_sockets()
            self.context.term()
        else:
            self.context.destroy(linger=0)

    def signal_plugins(self, signum: int) -> list[str]:
        """Send a signal to every running plugin; return their names."""
        for pid, watcher in self.children.items():
            watcher.send_signal(pid, signum)
        return [watcher.name for watcher in self.children.values()]

    # For circusctl.

    def stop(self, reason: str = "circusctl quit") -> asyncio.Task[None]:
        """Stop all plugins and then the hub; repeated calls have no effect."""
        if self.stopping is None:
            _log.info("hub stopping", reason=reason)
            self._stopping = True
            self.stop_requested.set()
            self.stopping = asyncio.ensure_future(self._close_watchers())
            # Not set by the task itself: a waiting client gets its response when the task is done, and only then may
            # the process exit.
            self.stopping.add_done_callback(lambda _: self.stopped.set())
        return self.stopping

    async def _close_watchers(self) -> None:
        ended = await asyncio.gather(*(watcher.close() for watcher in self.watchers))
        self.all_exited = all(ended)

    async def _start_watchers(self, watcher_iter_func: Callable[[], Iterable[PluginWatcher]] | None = None) -> None:
        await self._fork_server.ready()
        watchers = (watcher_iter_func or self.iter_watchers)()
        await asyncio.gather(*(watcher.start() for watcher in watchers if watcher.autostart))

    def restart(
        self, watcher_iter_func: Callable[[], Iterable[PluginWatcher]] | None = None, **_circus: object
    ) -> asyncio.Future[Any]:
        """Restart plugins in place. circus would exit, and rely on another process to start it again."""
        watchers = (watcher_iter_func or self.iter_watchers)()
        return asyncio.gather(*(watcher.restart() for watcher in watchers))

    def reload(self, **_circus: object) -> asyncio.Future[Any]:
        """Restart all plugins, never running an old and a new process at once: the old one would take the resources."""
        return self.restart()

    def reload_from_config(self) -> asyncio.Task[ReloadResult]:
        """Start the plugins added to circus.ini, stop those removed from it, and restart those changed in it."""
        try:
            plugins = read_config(self._settings.config)
        except ConfigError as error:
            self.reject_config(str(error))
            raise MessageError(str(error)) from None
        return asyncio.ensure_future(self._change_to(plugins))

    def reject_config(self, problem: str) -> None:
        """Record why a configuration was not loaded; the plugins keep running as they were."""
        _log.error("configuration rejected", error=problem)
        self._report.config_rejected(problem)

    async def _change_to(self, plugins: list[PluginConfig]) -> ReloadResult:
        async with self._reloading:
            wanted = {plugin.name: plugin for plugin in plugins}
            outdated = [watcher for watcher in self.watchers if wanted.get(watcher.name) != watcher.config]
            # A plugin that an administrator has stopped or started stays stopped or started.
            running = {watcher.name: not watcher.is_stopped() for watcher in outdated}
            await asyncio.gather(*(self._remove(watcher) for watcher in outdated))
            kept = {watcher.name for watcher in self.watchers}
            added = [self._add(plugin) for plugin in plugins if plugin.name not in kept]
            for watcher in added:
                if running.get(watcher.name):
                    watcher.record.count(RestartReason.REQUESTED)
            await asyncio.gather(
                *(watcher.start() for watcher in added if running.get(watcher.name, watcher.autostart))
            )
        previous = {watcher.name for watcher in outdated}
        changes: ReloadResult = {
            "removed": [name for name in previous if name not in wanted],
            "changed": [name for name in wanted if name in previous],
            "added": [watcher.name for watcher in added if watcher.name not in previous],
        }
        for name in changes["removed"]:
            self._remove_labels(name)
        self._report.config_rejected("")
        _log.info("configuration loaded", **changes)
        return changes

    def add_watcher(self, name: str, cmd: str, **options: object) -> PluginWatcher:
        """Add a plugin until the next reload of the configuration; it is checked like a section of circus.ini."""
        if name.lower() in self._watchers_names:
            raise AlreadyExist(f"plugin {name} already exists")
        given = {"cmd": cmd} | {key: str(value) for key, value in options.items() if value is not None}
        try:
            section = Section(Path("circusctl add"), name, given)
            return self._add(plugin_from_section(section, name, self._settings.config.parent))
        except ConfigError as error:
            raise MessageError(str(error)) from None

    def rm_watcher(self, name: str, *nostop: bool) -> asyncio.Task[None]:
        """Stop a plugin and remove it."""
        if any(nostop):
            raise MessageError(
                "a process without a hub would keep the next process from getting its resources; "
                "remove the plugin without nostop"
            )
        return asyncio.ensure_future(self._remove_for_good(self.get_watcher(name)))

    def _watcher(self, plugin: PluginConfig) -> PluginWatcher:
        return PluginWatcher(plugin, self._settings, self._report.record(plugin), self._fork_server)

    def _add(self, plugin: PluginConfig) -> PluginWatcher:
        if self._stopping:
            raise MessageError("the hub is stopping")
        watcher = self._watcher(plugin)
        watcher.initialize(self.evpub_socket, self.sockets, self)
        self.watchers.append(watcher)
        self._watchers_names[plugin.name.lower()] = watcher
        return watcher

    async def _remove(self, watcher: PluginWatcher) -> None:
        await watcher.close()
        if watcher in self.watchers:  # false if two commands remove it at the same time
            self.watchers.remove(watcher)
            del self._watchers_names[watcher.name.lower()]
            self._report.forget(watcher.name)

    async def _remove_for_good(self, watcher: PluginWatcher) -> None:
        await self._remove(watcher)
        self._remove_labels(watcher.name)

    def _remove_labels(self, plugin: str) -> None:
        """Remove the labels of a plugin that is no longer configured; its process has stopped."""
        if directory := self._settings.features_dir:
            with optional("removal of the labels of a plugin"):
                feature_file(directory, plugin).unlink(missing_ok=True)

    # Exited children.

    def reap_processes(self) -> None:
        """Reap all children that have exited: plugins, and the orphans that process 1 inherits."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            watcher = self.children.pop(pid, None)
            if watcher is not None:
                watcher.reaped(pid, status)

    async def manage_watchers(self) -> None:
        """Reap children; called by circus's timer."""
        self.reap_processes()
