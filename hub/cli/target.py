"""The hub that a command targets."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hub.base.errors import HubError
from hub.base.instances import exited_hubs, running_hubs, serving
from hub.base.paths import INSTANCE, INSTANCE_NAME, RUN_DIR, RunDir
from hub.base.sockets import is_served
from hub.base.wording import did_you_mean
from hub.cli.adminclient import send
from hub.cli.render.text import click_errors
from hub.model.admin import RefreshHolders, Request, Response
from hub.model.heartbeat import UNRESPONSIVE_AFTER, heartbeat_age
from hub.model.hub import ProcessReport, RunState
from hub.model.node import NodeStatus, PluginStatus
from hub.status.lookup import Key, find_device
from hub.status.problems import unreachable_problem, unreachable_remedy
from hub.status.reader import Reader, is_alive

if TYPE_CHECKING:
    from hub.supervisor.circus.client import CircusClient

Function = Callable[..., None]

HOLDERS_SECONDS = 3.0
"""The time limit for a plugin to find out which containers use its devices; the kubelet gets two seconds of it."""


def hub_options(function: Function) -> Function:
    """Add the options that select a hub to a command, and pass that hub as its argument `hub`."""

    @click.option(
        "--run-dir",
        # A directory that cannot be read is reported later, by an error that names its owner.
        type=click.Path(path_type=Path, readable=False),
        default=RUN_DIR,
        envvar="DPHUB_RUN_DIR",
        show_default=True,
        show_envvar=True,
        help="The run directory of the hub.",
    )
    @click.option(
        "--instance",
        envvar="DPHUB_INSTANCE",
        show_envvar=True,
        shell_complete=_complete_instance,
        help="The hub's name, if two hubs share the run directory.  [default: the newest]",
    )
    @wraps(function)
    def command(*arguments: object, run_dir: Path, instance: str | None, **options: object) -> None:
        with click_errors():
            function(*arguments, hub=TargetHub(run_dir.absolute(), instance), **options)

    return command


def hub_of(context: click.Context) -> "TargetHub":
    """Find the hub that an unfinished command line targets.

    Raises:
        HubError: its run directory cannot be read.
    """
    typed = context.params
    return TargetHub(Path(typed.get("run_dir") or RUN_DIR).absolute(), typed.get("instance"))


def _complete_instance(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    try:
        return [name for name in hub_of(context).instances() if name.startswith(begun)]
    except HubError:
        # A shell cannot show the error.
        return []


class TargetHub:
    """The hub that a command targets.

    Args:
        path: Its run directory.
        name: Its name; by default that of the newest running hub.

    Raises:
        ConfigError: the run directory cannot be read.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        RunDir(path).check_readable()
        self.run_dir = RunDir(path, name or _newest(RunDir(path)))
        self._reader = Reader(self.run_dir)

    @property
    def reachable(self) -> bool:
        """Whether a process is listening on its control socket."""
        return is_served(self.run_dir.circus_socket)

    def status(self) -> NodeStatus:
        """Read the status of the node.

        Raises:
            HubError: there has never been such a hub.
        """
        if not self.run_dir.hub_report.exists() and (others := self._others()):
            name, path = self.run_dir.instance, self.run_dir.path
            hubs = "hub is" if len(others) == 1 else "hubs are"
            known = f"the existing {hubs} {', '.join(others)}{did_you_mean(name, others)}"
            raise HubError(f"there is no hub {name} in {path}; {known}")
        reachable = self.reachable
        return self._reader.status(
            running=reachable or is_alive(self._reader, self.run_dir),
            unresponsive=heartbeat_age(self.run_dir.hub_heartbeat) > UNRESPONSIVE_AFTER,
            unreachable=not reachable,
        )

    def status_with_holders(self) -> NodeStatus:
        """Read the status after every plugin has queried the kubelet for the containers that use its devices.

        All commands that show what is allocated use this, so that they agree. A plugin that cannot query the
        kubelet reports what it last knew.

        Raises:
            HubError: there has never been such a hub.
        """
        status = self.status()
        if not status.hub.running:
            return status

        def ask_one(name: str) -> None:
            with suppress(HubError):
                send(self.run_dir.admin_socket(name), RefreshHolders(), HOLDERS_SECONDS)

        # An unresponsive plugin would use up the time limit.
        asked = [each.name for each in status.plugins if each.process.pid and not each.process.unresponsive]
        with ThreadPoolExecutor() as workers:
            list(workers.map(ask_one, asked))
        return self.status()

    def live_status(self) -> NodeStatus:
        """Read the status for a command that needs a running hub.

        Raises:
            HubError: the hub is not running, or does not respond.
        """
        status = self.status()
        if status.hub.unresponsive:
            hub = f"the hub in {self.run_dir.path} (process {status.hub.report.pid})"
            raise HubError(f"{hub} does not respond; kill that process; in a pod, the container then restarts")
        if not status.hub.running:
            raise HubError(f"no hub is running in {self.run_dir.path}; start one with dphub run")
        return status

    def require_reachable(self) -> None:
        """Check that the hub can receive commands.

        Raises:
            HubError: the hub is not running, does not respond, or does not listen on its control socket.
        """
        status = self.live_status()
        if not self.reachable:
            raise HubError(f"{unreachable_problem(status.hub.report.pid)}; {unreachable_remedy(status.hub.report.pid)}")

    def circus(self) -> "CircusClient":
        """Return a client that sends commands to the hub.

        Raises:
            HubError: as for `require_reachable`; the client's commands raise it, too.
        """
        from hub.supervisor.circus.client import CircusClient  # noqa: PLC0415 - 0.1 s; completion does not need circus

        self.require_reachable()
        return CircusClient(self.run_dir, self.require_reachable)

    def plugin(self, name: str) -> PluginStatus:
        """Read the status of one plugin.

        Raises:
            HubError: the hub is not running, or has no such plugin.
        """
        return plugin_of(self.live_status(), name)

    def find_device(self, name: str, plugin: str | None = None) -> Key:
        """Find the one physical device that has a name.

        Args:
            name: The name.
            plugin: Search only the devices of this plugin.

        Raises:
            HubError: the hub is not running, or there is no such plugin or device, or more than one device.
        """
        status = self.live_status()
        asked = [plugin_of(status, plugin)] if plugin is not None else status.plugins
        return find_device(status, name, plugin, elsewhere=self.other_hub(each.name for each in asked))

    def send(self, plugin: str, request: Request) -> Response:
        """Send a request to a plugin's process, and return the response.

        Raises:
            HubError: there is no response; the text says why.
        """
        if reason := self._why_unresponsive(plugin):
            raise HubError(f"{plugin} {reason}")
        try:
            return send(self.run_dir.admin_socket(plugin), request)
        except HubError as error:
            raise HubError(f"{plugin}: {error}") from None

    def other_hub(self, plugins: Iterable[str]) -> str:
        """Name another hub on the node that serves one of these plugins if ours does not, as a suffix for a message."""
        for plugin in plugins:
            names = [hub.name for hub in serving(self.run_dir, plugin) if hub.is_running]
            if names and self.run_dir.instance not in names:
                return f"; hub {names[-1]} on this node still serves it: repeat the command with --instance {names[-1]}"
        return ""

    def _why_unresponsive(self, plugin: str) -> str:
        instance = self._reader.instance()
        for process in instance.processes if instance else ():
            if process.name == plugin:
                return _why_unresponsive(process)
        return ""

    def instances(self) -> list[str]:
        """List the hubs that share the run directory, or have shared it."""
        return [*(hub.name for hub in running_hubs(self.run_dir)), *exited_hubs(self.run_dir)]

    def _others(self) -> list[str]:
        return [name for name in self.instances() if name != self.run_dir.instance]


def _newest(run_dir: RunDir) -> str:
    """Return the name of the newest running hub; if there is none, of a running hub whose lock was removed."""
    if running := running_hubs(run_dir):
        return running[-1].name
    for path in run_dir.path.glob(f"*{run_dir.hub_heartbeat.suffix}"):
        found = RunDir(run_dir.path, path.stem)
        if INSTANCE_NAME.fullmatch(path.stem) and is_alive(Reader(found), found):
            return path.stem
    return INSTANCE


def _why_unresponsive(process: ProcessReport) -> str:
    """Say why a plugin's process cannot respond to an administrator; empty if it can."""
    if not process.is_hub_plugin:
        return "is not one of the hub's plugin processes, and accepts no commands"
    if process.run is RunState.STOPPED:
        return f"is stopped → dphub start {process.name}"
    return "" if process.pid else f"is not running ({process.run}) → dphub status {process.name}"


def plugin_of(status: NodeStatus, name: str) -> PluginStatus:
    """Find one plugin of a node.

    Raises:
        HubError: the hub has no such plugin.
    """
    for plugin in status.plugins:
        if plugin.name == name:
            return plugin
    known = [plugin.name for plugin in status.plugins]
    plugins = f"; the plugins are {', '.join(known)}" if known else ""
    raise HubError(f"there is no plugin {name}{plugins}{did_you_mean(name, known)}")
