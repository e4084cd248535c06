"""The hub that a command is about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hub.errors import HubError
from hub.paths import RUN_DIR, RunDir, is_served
from hub.status.model import NodeStatus, PluginStatus
from hub.status.reading import Reader

Function = TypeVar("Function", bound=Callable[..., Any])

_option = click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    default=RUN_DIR,
    envvar="DPHUB_RUN_DIR",
    show_default=True,
    show_envvar=True,
    help="The run directory of the hub.",
)


def run_dir_option(function: Function) -> Function:
    """Give a command the option that says which hub it is about."""
    return _option(function)


class NodeHub:
    """A hub as a command sees it.

    Args:
        path: Its run directory.
    """

    def __init__(self, path: Path) -> None:
        self.run_dir = RunDir(path.absolute())
        self._reader = Reader(self.run_dir)

    @property
    def running(self) -> bool:
        """Whether somebody listens on its control socket."""
        return is_served(self.run_dir.control)

    def status(self) -> NodeStatus:
        """The node's condition.

        Raises:
            HubError: there has never been a hub.
        """
        return self._reader.status(running=self.running)

    def live_status(self) -> NodeStatus:
        """The node's condition, where a command needs a hub that runs.

        Raises:
            HubError: there is none.
        """
        status = self.status()
        if not status.hub.running:
            raise HubError(f"no hub runs in {self.run_dir.path}; start one with dphub run")
        return status

    def plugin(self, name: str) -> PluginStatus:
        """How one plugin is.

        Raises:
            HubError: the hub does not run, or has no such plugin.
        """
        return plugin_of(self.live_status(), name)


def plugin_of(status: NodeStatus, name: str) -> PluginStatus:
    """One plugin of a node.

    Raises:
        HubError: the hub has no such plugin.
    """
    for plugin in status.plugins:
        if plugin.name == name:
            return plugin
    known = ", ".join(plugin.name for plugin in status.plugins)
    raise HubError(f"there is no plugin {name}; there are {known}" if known else f"there is no plugin {name}")
