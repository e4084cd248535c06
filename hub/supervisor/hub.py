"""The hub process from start to stop."""

import asyncio
import os
import signal
import stat
from collections.abc import Coroutine, Iterator
from pathlib import Path

from hub._version import __version__
from hub.base.errors import ConfigError
from hub.base.exits import Exit
from hub.base.instances import HeldLock, acquire_hub_lock
from hub.base.kubeletwatch import KubeletEvent, KubeletWatch
from hub.base.log import configure, get_logger
from hub.base.optional import optional
from hub.base.paths import KUBELET_SOCKET, user_name
from hub.base.stopsignals import stop_signals
from hub.base.terminal import has_terminal
from hub.status.reader import Reader
from hub.supervisor.circus.arbiter import HubArbiter
from hub.supervisor.cleanup import remove_feature_files, remove_sockets, remove_stale_files
from hub.supervisor.config.watchers import PluginConfig, read_config
from hub.supervisor.externalsocket import ExternalSocket
from hub.supervisor.forkserver import ForkServer
from hub.supervisor.http.server import serve_socket, serve_web, split_address
from hub.supervisor.reporter import HubReporter
from hub.supervisor.settings import HubSettings
from hub.supervisor.summaryfile import SummaryFile
from hub.supervisor.systemd import Systemd
from hub.supervisor.watchdog import Watchdog

_log = get_logger()


def run_hub(settings: HubSettings, fork_server: ForkServer) -> Exit:
    """Run the hub until a signal or circusctl stops it.

    Raises:
        ConfigError: a file or directory is unusable; nothing was started.
        AlreadyRunningError: another hub is using the run directory.
        HubError: the hub could not start.
    """
    plugins = read_config(settings.config)
    _check_plugin_dir(settings.plugin_dir)
    settings.run_dir.create()
    if settings.http:
        split_address(settings.http)
    configure(settings.log_level, settings.log_format, keep=settings.run_dir.hub_log)
    # SIGHUP is blocked until its handler is set.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    with acquire_hub_lock(settings.run_dir, is_service=settings.is_service) as lock:
        with optional("removal of files of exited hubs"):
            remove_stale_files(settings.run_dir, settings.plugin_dir)
        if settings.features_dir:
            with optional("removal of labels of former plugins"):
                remove_feature_files(settings.features_dir, settings.run_dir, {plugin.name for plugin in plugins})
        try:
            return asyncio.run(_serve(plugins, settings, lock, fork_server))
        finally:
            with optional("removal of the hub's sockets"):
                remove_sockets(settings.run_dir)


async def _serve(plugins: list[PluginConfig], settings: HubSettings, lock: HeldLock, fork_server: ForkServer) -> Exit:
    reader = Reader(settings.run_dir)
    # This removes systemd's variables from the environment: only this process may use them.
    systemd = Systemd(reader)
    reporter = HubReporter(settings)
    arbiter = HubArbiter(plugins, settings, reporter, fork_server)
    watchdog = Watchdog(settings.run_dir, arbiter)
    kubelet = _Kubelet(settings, arbiter, reporter)
    try:
        watchdog.beat()
        reporter.write()
        _handle_signals(arbiter)
        _log.info(
            "hub started",
            version=__version__,
            config=str(settings.config),
            plugin_dir=str(settings.plugin_dir),
            run_dir=str(settings.run_dir.path),
            http=settings.http or "off",
        )
        work = (
            *_tasks(settings, lock, watchdog, reporter, kubelet, reader=reader),
            *_systemd_tasks(systemd, arbiter, reporter),
        )
        tasks = [asyncio.create_task(task) for task in work]
        await arbiter.open()
        await arbiter.stopped.wait()
        for task in tasks:
            task.cancel()
        if arbiter.stopping is not None:
            await arbiter.stopping
        reporter.write()
    finally:
        arbiter.close()
    _log.info("hub stopped")
    if kubelet.plugin_dir_replaced:
        return Exit.PLUGIN_DIR_REPLACED
    return Exit.OK if arbiter.all_exited else Exit.FAILED


def _tasks(
    settings: HubSettings,
    lock: HeldLock,
    watchdog: Watchdog,
    reporter: HubReporter,
    kubelet: "_Kubelet",
    *,
    reader: Reader,
) -> Iterator[Coroutine[None, None, None]]:
    """Yield the hub's own tasks, which run alongside its plugins: the plugins work without any of them."""
    run = reporter.tasks.run
    yield run("kubelet watch", kubelet.watch)
    yield run("watchdog", watchdog.run)
    yield run("report", reporter.restore)
    yield run("summary", SummaryFile(settings.run_dir, reader).keep)
    yield run("check of the lock", lock.keep)
    yield run("reports of other programs", ExternalSocket(settings.run_dir).run)
    yield run("probes", lambda: serve_socket(settings.run_dir.http_socket, reader))
    if settings.http:
        yield run("web", lambda: serve_web(settings.http, reader, reporter.listening, settings.http_hosts))


def _systemd_tasks(
    systemd: Systemd, arbiter: HubArbiter, reporter: HubReporter
) -> Iterator[Coroutine[None, None, None]]:
    """Yield the tasks that report to systemd, if it has started the hub."""
    if systemd.is_present:
        yield reporter.tasks.run("reports to systemd", systemd.run)
        yield reporter.tasks.run("report of the stop", lambda: systemd.report_stop(arbiter.stop_requested))


class _Kubelet:
    """The hub's reactions to changes in the kubelet's state.

    Args:
        settings: The settings of the hub.
        arbiter: The plugins.
        reporter: Records the kubelet's state.

    Attributes:
        plugin_dir_replaced: Whether the hub stops because the plugin directory was removed.
    """

    def __init__(self, settings: HubSettings, arbiter: HubArbiter, reporter: HubReporter) -> None:
        self.plugin_dir_replaced = False
        self._has_watched = False
        self._settings = settings
        self._arbiter = arbiter
        self._reporter = reporter

    async def watch(self) -> None:
        """Signal plugins to register, until cancelled; stop the hub once the plugin directory is removed."""
        with KubeletWatch(self._settings.plugin_dir) as watch:
            if self._has_watched:
                # A kubelet may have started since the last watch failed.
                self._arbiter.signal_plugins(signal.SIGHUP)
            self._has_watched = True
            async for event in watch:
                self._handle(event)
        self.plugin_dir_replaced = True
        self._arbiter.stop("plugin directory removed; only a restarted container sees the new one")
        await asyncio.Event().wait()

    def _handle(self, event: KubeletEvent) -> None:
        match event:
            case KubeletEvent.STARTED:
                self._reporter.kubelet_started()
                _log.info("kubelet started", plugins_notified=self._arbiter.signal_plugins(signal.SIGHUP))
            case KubeletEvent.STOPPED:
                self._reporter.mark_changed()
            case KubeletEvent.UNRESPONSIVE:
                self._reporter.kubelet_responds(responding=False)
                _log.warning("kubelet unresponsive", socket=str(self._settings.plugin_dir / KUBELET_SOCKET))
            case KubeletEvent.RESPONSIVE:
                self._reporter.kubelet_responds(responding=True)


def _handle_signals(arbiter: HubArbiter) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, arbiter.reap_processes)
    for signum in stop_signals():
        loop.add_signal_handler(signum, arbiter.stop, signum.name)
    if has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, _stop_without_terminal, arbiter)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _stop_without_terminal(arbiter: HubArbiter) -> None:
    """Stop if the terminal was closed; a SIGHUP from elsewhere has no effect."""
    if not has_terminal():
        arbiter.stop("terminal closed")


def _check_plugin_dir(path: Path) -> None:
    """Check the permissions of the directory; if it is missing, the kubelet may still create it."""
    another = "choose another with --plugin-dir or DPHUB_PLUGIN_DIR"
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(path, f"cannot be used as the plugin directory: {error.strerror}; {another}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(path, "not a directory, expected the kubelet's plugin directory")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        problem = f"plugins cannot create sockets in it as {user_name(os.geteuid())}"
        raise ConfigError(path, f"{problem}; run dphub as {user_name(found.st_uid)}, or {another}")
