"""`dphub cordon`, `uncordon`, `reset` and `log-level`: the commands sent to a running plugin."""

import sys
from collections.abc import Callable

import click

from hub.base.exits import Exit
from hub.base.log import LogLevel
from hub.base.printable import printable
from hub.cli.completing import devices, plugins, releasable
from hub.cli.render.text import echo, examples
from hub.cli.target import TargetHub, hub_options, plugin_of
from hub.model.admin import Cordon, Request, Reset, SetLogLevel, Uncordon
from hub.status.lookup import find_device

LONGEST_REASON = 500
"""Maximum length of a reason in characters: it is part of a status line. A plugin accepts a request of 64 KiB."""


def _reason(_context: click.Context, _parameter: click.Parameter, reason: str) -> str:
    if len(reason) > LONGEST_REASON:
        raise click.BadParameter(f"it has {len(reason)} characters; at most {LONGEST_REASON} are allowed")
    return printable(reason)


_plugin = click.option(
    "--plugin", shell_complete=plugins, help="The device's plugin, if several plugins have a device of that name."
)


@click.command(
    epilog=examples(
        'dphub cordon stub-1 --reason "the fan is loud"', "dphub cordon 0000:1b:00.0", "dphub cordon mlx5_0"
    )
)
@click.argument("device", shell_complete=devices)
@click.option("--reason", default="", callback=_reason, help="The reason, which the status shows.")
@_plugin
@hub_options
def cordon(device: str, reason: str, plugin: str | None, hub: TargetHub) -> None:
    """Mark DEVICE and all its shares unschedulable until it is uncordoned. Containers that use it keep it.

    The cordon persists across restarts of the plugin, the hub and the pod. DEVICE is an id or at least its first eight
    characters, a physical device, a PCI address, a name such as mlx5_0, or "RESOURCE ID" if ids are not unique, as
    in RDMA pools. Without --reason, an earlier reason is kept.
    """
    _do_to(device, plugin, hub, lambda key: Cordon(key, reason))


@click.command(epilog=examples("dphub uncordon stub-1"))
@click.argument("device", shell_complete=releasable)
@_plugin
@hub_options
def uncordon(device: str, plugin: str | None, hub: TargetHub) -> None:
    """Make DEVICE schedulable again: a device that was cordoned, was flapping, or has been repaired."""
    _do_to(device, plugin, hub, Uncordon)


@click.command(epilog=examples("dphub reset 0000:1b:00.0"))
@click.argument("device", shell_complete=devices)
@_plugin
@hub_options
def reset(device: str, plugin: str | None, hub: TargetHub) -> None:
    """Reset DEVICE now, the way it is reset before a container starts, if no container uses it or a share of it."""
    _do_to(device, plugin, hub, Reset)


@click.command("log-level", epilog=examples("dphub log-level gpu debug", "dphub log-level gpu info"))
@click.argument("plugin", shell_complete=plugins)
@click.argument("level", metavar="LEVEL", type=click.Choice([level.value for level in LogLevel]))
@hub_options
def log_level(plugin: str, level: str, hub: TargetHub) -> None:
    """Set the log level of PLUGIN to LEVEL (debug, info, warning or error) until it is restarted."""
    hub.plugin(plugin)
    _do(hub, plugin, SetLogLevel(LogLevel(level)))


def _do_to(device: str, plugin: str | None, hub: TargetHub, request: Callable[[str], Request]) -> None:
    """Find the device, and send a request to its plugin."""
    status = hub.live_status()
    asked = [plugin_of(status, plugin)] if plugin is not None else status.plugins
    name, key = find_device(status, device, plugin, elsewhere=hub.other_hub(each.name for each in asked))
    _do(hub, name, request(key))


def _do(hub: TargetHub, plugin: str, request: Request) -> None:
    response = hub.send(plugin, request)
    echo(f"{plugin}: {response.message}", error=not response.ok)
    sys.exit(Exit.OK if response.ok else Exit.FAILED)
