"""`dphub reload`: load what has changed in the configuration, if all of it is right."""

import sys
import time
from pathlib import Path

import click

from hub.cli.node import NodeHub, hub_options
from hub.cli.outcome import report_start
from hub.errors import ConfigError
from hub.exits import Exit
from hub.state.files import digest
from hub.status.model import Condition, NodeStatus
from hub.supervisor.check import check_plugins
from hub.supervisor.client import HubClient
from hub.supervisor.config import read_config
from hub.supervisor.settings import HubSettings


@click.command()
@hub_options
def reload(hub: NodeHub) -> None:
    """Check circus.ini and the plugins' files, then start, stop and restart what has changed, and nothing else."""
    status = hub.live_status()
    client = HubClient(hub.run_dir)
    if faults := _faults(hub, status):
        for fault in faults:
            click.echo(fault, err=True)
        client.refuse("; ".join(faults))
        click.echo("dphub reload: nothing was changed", err=True)
        sys.exit(Exit.USAGE)
    begin = time.monotonic()
    stale = _with_changed_files(status)
    client.reload()
    sys.exit(Exit.OK if _report(hub, client, status, stale, begin) else Exit.FAILED)


def _faults(hub: NodeHub, status: NodeStatus) -> list[str]:
    """What is wrong with the configuration, everything at once."""
    settings = HubSettings(Path(status.hub.config), Path(status.hub.plugin_dir), hub.run_dir)
    try:
        plugins = read_config(settings.config)
    except ConfigError as error:
        return [str(error)]
    found = zip(plugins, check_plugins(plugins, settings, Path(status.hub.directory)), strict=True)
    return [f"{plugin.name}: {fault}" for plugin, fault in found if fault]


def _with_changed_files(status: NodeStatus) -> set[str]:
    """The plugins whose own configuration file is not the one that they have read."""
    read = [(plugin.name, plugin.config) for plugin in status.plugins if plugin.config]
    return {name for name, config in read if digest(Path(config.path)) != config.digest}


def _report(hub: NodeHub, client: HubClient, before: NodeStatus, stale: set[str], begin: float) -> bool:
    """Restart what circus.ini did not change but its own file did, and tell what became of everything."""
    starts = {plugin.name: plugin.starts for plugin in before.plugins}
    after = hub.live_status()
    good = True
    for name in starts.keys() - {plugin.name for plugin in after.plugins}:
        click.echo(f"{name}: stopped and removed")
    changed = 0
    for plugin in after.plugins:
        was = starts.get(plugin.name)
        if was is not None and plugin.starts == was and plugin.name not in stale:
            continue
        changed += 1
        if plugin.condition is Condition.STOPPED:
            click.echo(f"{plugin.name}: loaded, not started")
            continue
        if plugin.starts == was:
            client.restart(plugin.name)
        verb = "added" if was is None else "restarted"
        good &= report_start(hub, plugin.name, begin=begin, before=-1 if was is None else was, verb=verb)
    if not changed and len(after.plugins) == len(starts):
        click.echo("nothing has changed")
    return good
