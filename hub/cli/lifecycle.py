"""`dphub restart`, `stop` and `start`: one plugin, while the others run on."""

import asyncio
import sys
import time

import click

from hub.cli.node import NodeHub, hub_options
from hub.cli.outcome import LIMIT, report_start
from hub.cli.states import wait_for
from hub.errors import HubError
from hub.exits import Exit
from hub.status.model import Condition, PluginStatus
from hub.supervisor.client import HubClient


@click.command()
@click.argument("plugin")
@hub_options
def restart(plugin: str, hub: NodeHub) -> None:
    """Stop PLUGIN and start it; end when its resources are registered again, or with the reason why they are not."""
    before, begin = hub.plugin(plugin).starts, time.monotonic()
    HubClient(hub.run_dir, hub.live_status).restart(plugin)
    _exit(done=report_start(hub, plugin, begin=begin, before=before, verb="restarted"))


@click.command()
@click.argument("plugin")
@hub_options
def start(plugin: str, hub: NodeHub) -> None:
    """Start PLUGIN; end when its resources are registered, or with the reason why they are not."""
    before, begin = hub.plugin(plugin), time.monotonic()
    HubClient(hub.run_dir, hub.live_status).start(plugin)
    if before.pid:
        _exit(done=report_start(hub, plugin, begin=begin, verb="runs already"))
    _exit(done=report_start(hub, plugin, begin=begin, before=before.starts, verb="started"))


@click.command()
@click.argument("plugin")
@hub_options
def stop(plugin: str, hub: NodeHub) -> None:
    """Stop PLUGIN until it is started again; its devices cannot be allocated meanwhile."""
    hub.plugin(plugin)
    begin = time.monotonic()
    HubClient(hub.run_dir, hub.live_status).stop(plugin)

    def stopped() -> PluginStatus | None:
        status = hub.plugin(plugin)
        return status if status.condition is Condition.STOPPED else None

    if asyncio.run(wait_for(hub.run_dir.path, stopped, LIMIT)) is None:
        raise HubError(f"{plugin} has not stopped within {LIMIT:g} s; it may hang in a driver, see dphub logs {plugin}")
    click.echo(f"{plugin}: stopped after {time.monotonic() - begin:.2f} s")


def _exit(*, done: bool) -> None:
    sys.exit(Exit.OK if done else Exit.FAILED)
