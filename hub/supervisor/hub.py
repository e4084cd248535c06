"""The hub process from its start to its end."""

import asyncio
import os
import signal
import stat
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path

from hub._version import __version__
from hub.base.errors import ConfigError
from hub.base.exits import Exit
from hub.base.instances import acquire_hub_lock
from hub.base.log import configure, get_logger
from hub.base.optional import optional
from hub.base.paths import KUBELET_SOCKET, user_name
from hub.base.stopsignals import stop_signals
from hub.status.reader import Reader
from hub.supervisor.circus.arbiter import HubArbiter
from hub.supervisor.cleanup import remove_stale_files
from hub.supervisor.config.watchers import PluginConfig, read_config
from hub.supervisor.http.server import serve_web, split_address
from hub.supervisor.kubeletwatch import KubeletEvent, KubeletWatch
from hub.supervisor.reporter import HubReporter
from hub.supervisor.settings import HubSettings
from hub.supervisor.tasks import run_forever
from hub.supervisor.watchdog import Watchdog

_log = get_logger()


def run_hub(settings: HubSettings) -> Exit:
    """Run the hub until a signal or circusctl stops it.

    Raises:
        ConfigError: a file or directory is unusable; nothing was started.
        AlreadyRunningError: another hub holds the run directory.
        HubError: the hub could not start.
    """
    plugins = read_config(settings.config)
    _check_plugin_dir(settings.plugin_dir)
    settings.run_dir.create()
    if settings.http:
        split_address(settings.http)
    configure(settings.log_level, settings.log_format, keep=settings.run_dir.hub_log)
    # Plugins inherit the mask: a SIGHUP for a plugin that has no handler yet stays pending, instead of killing it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    with acquire_hub_lock(settings.run_dir):
        with optional("removal of files of exited hubs"):
            remove_stale_files(settings.run_dir, settings.plugin_dir)
        return asyncio.run(_serve(plugins, settings))


async def _serve(plugins: list[PluginConfig], settings: HubSettings) -> Exit:
    reporter = HubReporter(settings)
    arbiter = HubArbiter(plugins, settings, reporter)
    watchdog = Watchdog(settings.run_dir, arbiter)
    try:
        with KubeletWatch(settings.plugin_dir) as watch:
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
            await arbiter.open()
            watching = asyncio.create_task(_watch_kubelet(watch, arbiter, reporter, settings))
            tasks = [asyncio.create_task(work) for work in _hub_tasks(settings, watchdog, reporter)]
            plugin_dir_replaced = await _until_stopped(arbiter, watching, tasks)
        if arbiter.stopping is not None:
            await arbiter.stopping
        reporter.write()
    finally:
        arbiter.close()
    _log.info("hub stopped")
    if plugin_dir_replaced:
        return Exit.PLUGIN_DIR_REPLACED
    return Exit.OK if arbiter.all_ended else Exit.FAILED


async def _watch_kubelet(
    watch: KubeletWatch, arbiter: HubArbiter, reporter: HubReporter, settings: HubSettings
) -> None:
    """Report changes of the kubelet, and signal plugins to register; return once the plugin directory is removed."""
    async for event in watch:
        match event:
            case KubeletEvent.STARTED:
                reporter.kubelet_started()
                _log.info("kubelet started", plugins_notified=arbiter.signal_plugins(signal.SIGHUP))
            case KubeletEvent.STOPPED:
                reporter.mark_changed()
            case KubeletEvent.UNRESPONSIVE:
                reporter.kubelet_responds(responding=False)
                _log.warning("kubelet unresponsive", socket=str(settings.plugin_dir / KUBELET_SOCKET))
            case KubeletEvent.RESPONSIVE:
                reporter.kubelet_responds(responding=True)


def _hub_tasks(
    settings: HubSettings, watchdog: Watchdog, reporter: HubReporter
) -> Iterator[Coroutine[None, None, None]]:
    """Yield the hub's own tasks, which run beside its plugins."""
    yield run_forever("watchdog", watchdog.run, reporter.task_failed)
    yield run_forever("report", reporter.restore, reporter.task_failed)
    if settings.http:
        reader = Reader(settings.run_dir)
        yield run_forever("web", lambda: serve_web(settings.http, reader, reporter.listening), reporter.task_failed)


async def _until_stopped(
    arbiter: HubArbiter, watching: asyncio.Task[None], tasks: Iterable[asyncio.Task[None]]
) -> bool:
    """Wait until all plugins have stopped; return whether that is because the plugin directory was removed."""
    watching.add_done_callback(lambda _: arbiter.stop(_stop_reason(watching)))
    await arbiter.stopped.wait()
    for task in tasks:
        task.cancel()
    if watching.done():
        watching.result()  # raises the error that ended the watch
        return True
    watching.cancel()
    return False


def _stop_reason(watching: asyncio.Task[None]) -> str:
    """Return why the hub stops when the watch has ended."""
    error = None if watching.cancelled() else watching.exception()
    return str(error or "plugin directory removed, only a restarted container sees the new one")


def _handle_signals(arbiter: HubArbiter) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, arbiter.reap_processes)
    for signum in stop_signals():
        loop.add_signal_handler(signum, arbiter.stop, signum.name)


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
