"""`dphub reload`: applies changes to the configuration, if the whole configuration is valid."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hub.base.errors import ConfigError
from hub.base.exits import Exit
from hub.base.jsonfile import digest
from hub.cli.outcome import report_start
from hub.cli.render.text import echo, examples
from hub.cli.target import TargetHub, hub_options
from hub.model.node import Condition, NodeStatus
from hub.supervisor.config.watchers import read_config
from hub.supervisor.settings import HubSettings

if TYPE_CHECKING:
    from hub.supervisor.circus.changes import ReloadResult
    from hub.supervisor.circus.client import CircusClient


@click.command(epilog=examples("dphub check", "dphub reload"))
@hub_options
def reload(hub: TargetHub) -> None:
    """Check circus.ini and the plugins' files, then start, stop and restart only the plugins that changed."""
    status = hub.live_status()
    client = hub.circus()
    if errors := _errors(hub, status):
        for error in errors:
            echo(error, error=True)
        client.reject_config("; ".join(errors))
        echo("dphub reload: nothing was changed", error=True)
        sys.exit(Exit.USAGE)
    begin = time.monotonic()
    stale = _with_changed_files(status) | _kept_from_starting(status)
    verbs = _verbs(client.reload(), stale)
    sys.exit(Exit.OK if _report(hub, client, status, verbs, begin) else Exit.FAILED)


def _errors(hub: TargetHub, status: NodeStatus) -> list[str]:
    """Check the configuration, and list all errors at once."""
    from hub.supervisor.check import check_plugins  # noqa: PLC0415 - 0.1 s; completion does not need it

    settings = HubSettings(Path(status.hub.report.config), Path(status.hub.report.plugin_dir), hub.run_dir)
    try:
        plugins = read_config(settings.config)
    except ConfigError as error:
        return [str(error)]
    found = zip(plugins, check_plugins(plugins, settings, load=True), strict=True)
    return [f"{plugin.name}: {problem}" for plugin, report in found for problem in report.problems]


def _with_changed_files(status: NodeStatus) -> set[str]:
    """Find the plugins whose configuration file has changed since they read it."""
    read = [(plugin.name, plugin.report.config) for plugin in status.plugins if plugin.report.config]
    return {name for name, config in read if digest(Path(config.path)) != config.digest}


def _kept_from_starting(status: NodeStatus) -> set[str]:
    """Find the plugins that exited because of their configuration: it is valid now, so they need not wait."""
    return {
        plugin.name
        for plugin in status.plugins
        if plugin.condition is Condition.BACKING_OFF
        and plugin.process.last_exit
        and plugin.process.last_exit.code == Exit.USAGE
    }


def _verbs(changes: ReloadResult, stale: set[str]) -> dict[str, str]:
    """Say what happens to each plugin. A plugin that is stopped stays stopped, whatever has changed."""
    return (
        dict.fromkeys(sorted(stale), "restarted")
        | dict.fromkeys(changes["changed"], "restarted")
        | dict.fromkeys(changes["added"], "added")
        | dict.fromkeys(sorted(changes["removed"]), "removed")
    )


def _report(hub: TargetHub, client: CircusClient, before: NodeStatus, verbs: dict[str, str], begin: float) -> bool:
    """Restart the plugins for which only their own file has changed, and report the outcome of all changes."""
    starts = {plugin.name: plugin.process.starts for plugin in before.plugins}
    after = {plugin.name: plugin for plugin in hub.live_status().plugins}
    good = True
    for name, verb in verbs.items():
        if name not in after:
            echo(f"{name}: stopped and removed")
        elif after[name].condition is Condition.STOPPED:
            echo(f"{name}: loaded, not started")
        else:
            was = starts.get(name, -1)
            if after[name].process.starts == was:
                client.restart(name)
            good &= report_start(hub, name, begin=begin, before=was, verb=verb)
    if not verbs:
        echo("nothing has changed")
    return good
