"""The hub that a command is about."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import wraps
from pathlib import Path

import click

from hub.base.errors import HubError
from hub.base.instances import exited_hubs, running_hubs, serving
from hub.base.paths import INSTANCE, RUN_DIR, RunDir
from hub.base.sockets import is_served
from hub.base.wording import did_you_mean
from hub.cli.adminclient import send
from hub.cli.render.text import click_errors
from hub.model.admin import RefreshHolders, Request, Response
from hub.model.heartbeat import UNRESPONSIVE_AFTER, heartbeat_age
from hub.model.hub import ProcessReport, RunState
from hub.model.node import NodeStatus, PluginStatus
from hub.status.reader import Reader

Function = Callable[..., None]

HOLDERS_SECONDS = 3.0
"""How long a plugin has to find out who holds what; its kubelet has two."""


def hub_options(function: Function) -> Function:
    """Give a command the options that say which hub it is about, and that hub as its argument `hub`."""

    @click.option(
        "--run-dir",
        # One that cannot be read gets an error of its own, which says whose it is.
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
        help="The hub's name, where two share the run directory.  [default: the younger one]",
    )
    @wraps(function)
    def command(*arguments: object, run_dir: Path, instance: str | None, **options: object) -> None:
        with click_errors():
            function(*arguments, hub=TargetHub(run_dir.absolute(), instance), **options)

    return command


def hub_of(context: click.Context) -> "TargetHub":
    """The hub that a command line is about, as far as it is typed.

    Raises:
        HubError: its run directory cannot be read.
    """
    said = context.params
    return TargetHub(Path(said.get("run_dir") or RUN_DIR).absolute(), said.get("instance"))


def _complete_instance(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    try:
        return [name for name in hub_of(context).instances() if name.startswith(begun)]
    except HubError:
        # A shell has no place to say so.
        return []


class TargetHub:
    """A hub as a command sees it.

    Args:
        path: Its run directory.
        name: Its name; by default the youngest one's that lives.

    Raises:
        ConfigError: the run directory cannot be read.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        RunDir(path).check_readable()
        youngest = next((hub.name for hub in reversed(running_hubs(RunDir(path)))), INSTANCE)
        self.run_dir = RunDir(path, name or youngest)
        self._reader = Reader(self.run_dir)

    @property
    def running(self) -> bool:
        """Whether somebody listens on its control socket."""
        return is_served(self.run_dir.circus_socket)

    def status(self) -> NodeStatus:
        """The node's condition.

        Raises:
            HubError: there has never been such a hub.
        """
        if not self.run_dir.hub_report.exists() and (others := self._others()):
            name, path = self.run_dir.instance, self.run_dir.path
            there = f"there are {', '.join(others)}{did_you_mean(name, others)}"
            raise HubError(f"there is no hub {name} in {path}; {there}")
        return self._reader.status(
            running=self.running, unresponsive=heartbeat_age(self.run_dir.hub_heartbeat) > UNRESPONSIVE_AFTER
        )

    def status_with_holders(self) -> NodeStatus:
        """The node's condition, once every plugin has asked the kubelet which container uses what.

        From a plugin that cannot ask, what it knew last is in it.

        Raises:
            HubError: there has never been such a hub.
        """
        status = self.status()
        if not status.hub.running:
            return status

        def ask_one(name: str) -> None:
            with suppress(HubError):
                send(self.run_dir.admin_socket(name), RefreshHolders(), HOLDERS_SECONDS)

        with ThreadPoolExecutor() as workers:
            list(workers.map(ask_one, [plugin.name for plugin in status.plugins if plugin.process.pid]))
        return self.status()

    def live_status(self) -> NodeStatus:
        """The node's condition, where a command needs a hub that runs.

        Raises:
            HubError: there is none.
        """
        status = self.status()
        if status.hub.unresponsive:
            hub = f"the hub in {self.run_dir.path} (process {status.hub.report.pid})"
            raise HubError(f"{hub} does not respond; end that process; in a pod, it is restarted")
        if not status.hub.running:
            raise HubError(f"no hub is running in {self.run_dir.path}; start one with dphub run")
        return status

    def plugin(self, name: str) -> PluginStatus:
        """How one plugin is.

        Raises:
            HubError: the hub does not run, or has no such plugin.
        """
        return plugin_of(self.live_status(), name)

    def send(self, plugin: str, request: Request) -> Response:
        """What a plugin's process answers.

        Raises:
            HubError: it does not, and why.
        """
        if why := self._why_silent(plugin):
            raise HubError(f"{plugin} {why}")
        try:
            return send(self.run_dir.admin_socket(plugin), request)
        except HubError as error:
            raise HubError(f"{plugin}: {error}") from None

    def other_hub(self, plugins: Iterable[str]) -> str:
        """Another hub of the node that serves one of these plugins where ours does not, to be added to a text."""
        for plugin in plugins:
            names = [hub.name for hub in serving(self.run_dir, plugin) if hub.is_running]
            if names and self.run_dir.instance not in names:
                return f"; another hub of this node, {names[-1]}, still serves: --instance {names[-1]}"
        return ""

    def _why_silent(self, plugin: str) -> str:
        instance = self._reader.instance()
        for process in instance.processes if instance else ():
            if process.name == plugin:
                return _why_silent(process)
        return ""

    def instances(self) -> list[str]:
        """The hubs that share the run directory, or have shared it."""
        return [*(hub.name for hub in running_hubs(self.run_dir)), *exited_hubs(self.run_dir)]

    def _others(self) -> list[str]:
        return [name for name in self.instances() if name != self.run_dir.instance]


def _why_silent(process: ProcessReport) -> str:
    """Why a plugin's process does not answer an operator; empty where it should."""
    if not process.is_hub_plugin:
        return "is another program than a plugin of the hub's, and does nothing for an operator"
    if process.run is RunState.STOPPED:
        return f"is stopped → dphub start {process.name}"
    return "" if process.pid else f"is {process.run} → dphub status {process.name}"


def plugin_of(status: NodeStatus, name: str) -> PluginStatus:
    """One plugin of a node.

    Raises:
        HubError: the hub has no such plugin.
    """
    for plugin in status.plugins:
        if plugin.name == name:
            return plugin
    known = [plugin.name for plugin in status.plugins]
    there = f"; there are {', '.join(known)}" if known else ""
    raise HubError(f"there is no plugin {name}{there}{did_you_mean(name, known)}")
