"""`dphub restart`, `stop` and `start`: one plugin, while the others keep running."""

from __future__ import annotations

import asyncio
import sys
import time

import click

from hub.base.errors import HubError
from hub.base.exits import Exit
from hub.base.wording import counted
from hub.cli.completing import plugins
from hub.cli.outcome import LIMIT, report_start
from hub.cli.render.text import echo, examples
from hub.cli.target import TargetHub, hub_options, plugin_of
from hub.cli.waiting import wait_for
from hub.model.node import Condition, NodeStatus, PluginStatus
from hub.status.lookup import matching_devices

_SHOWN = 8
"""Maximum number of devices that are listed individually."""


@click.command(epilog=examples("dphub restart gpu"))
@click.argument("plugin", shell_complete=plugins)
@hub_options
def restart(plugin: str, hub: TargetHub) -> None:
    """Restart PLUGIN; wait until its resources are registered again, or report why they are not."""
    before, begin = hub.plugin(plugin).process.starts, time.monotonic()
    hub.circus().restart(plugin)
    _exit(done=report_start(hub, plugin, begin=begin, before=before, verb="restarted"))


@click.command(epilog=examples("dphub start gpu"))
@click.argument("plugin", shell_complete=plugins)
@hub_options
def start(plugin: str, hub: TargetHub) -> None:
    """Start PLUGIN; wait until its resources are registered, or report why they are not."""
    before, begin = hub.plugin(plugin), time.monotonic()
    hub.circus().start(plugin)
    if before.process.pid:
        _exit(done=report_start(hub, plugin, begin=begin, verb="already running"))
    _exit(done=report_start(hub, plugin, begin=begin, before=before.process.starts, verb="started"))


@click.command(epilog=examples("dphub stop gpu"))
@click.argument("plugin", shell_complete=plugins)
@hub_options
def stop(plugin: str, hub: TargetHub) -> None:
    """Stop PLUGIN until it is started again.

    Containers keep the devices that they use; the command lists them. New pods cannot get the plugin's devices until it
    is started again.
    """
    if hub.plugin(plugin).condition is Condition.STOPPED:
        echo(f"{plugin}: already stopped")
        return
    before = hub.status_with_holders()
    begin = time.monotonic()
    hub.circus().stop(plugin)

    def stopped() -> PluginStatus | None:
        status = hub.plugin(plugin)
        return status if status.condition is Condition.STOPPED else None

    if asyncio.run(wait_for(hub.run_dir.path, stopped, LIMIT)) is None:
        why = f"it may be stuck in a driver call, see dphub logs {plugin}"
        raise HubError(f"{plugin} did not stop within {LIMIT:g} s; {why}")
    echo(f"{plugin}: stopped after {time.monotonic() - begin:.2f} s")
    for line in _consequences(before, plugin):
        echo(f"{plugin}: {line}")


def _consequences(status: NodeStatus, plugin: str) -> list[str]:
    """Describe the consequences of stopping a plugin, for containers that use its devices and for new pods."""
    stopped = plugin_of(status, plugin)
    if not stopped.report.resources:
        return []
    lines = []
    used = [each.device for each in matching_devices(status, plugin) if each.device.holder]
    if used:
        shown = ", ".join(f"{device.id} ({device.holder})" for device in used[:_SHOWN])
        more = f" and {len(used) - _SHOWN} more" if len(used) > _SHOWN else ""
        keep = "its container keeps it" if len(used) == 1 else "their containers keep them"
        lines.append(f"{counted(len(used), 'device')} in use, {keep}: {shown}{more}")
    elif not stopped.report.holders_known:
        which = "the hub cannot determine which containers use them: the pod resources API is unavailable"
        lines.append(f"containers keep its devices, but {which}")
    resources = ", ".join(each.name for each in stopped.report.resources)
    return [*lines, f"new pods cannot get {resources} until it is started again: dphub start {plugin}"]


def _exit(*, done: bool) -> None:
    sys.exit(Exit.OK if done else Exit.FAILED)
