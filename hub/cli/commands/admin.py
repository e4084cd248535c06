"""`dphub cordon`, `uncordon`, `reset` and `log-level`: the commands sent to a running plugin."""

import sys
from collections.abc import Callable

import click

from hub.base.exits import Exit
from hub.base.log import LogLevel
from hub.cli.completing import devices, plugin_option, plugins, releasable
from hub.cli.options import status_text
from hub.cli.render.text import echo, examples
from hub.cli.target import TargetHub, hub_options
from hub.model.admin import Cordon, Request, Reset, SetLogLevel, Uncordon


@click.command(
    epilog=examples(
        'dphub cordon stub-1 --reason "the fan is loud"', "dphub cordon 0000:1b:00.0", "dphub cordon mlx5_0"
    )
)
@click.argument("device", shell_complete=devices)
@click.option("--reason", default="", callback=status_text, help="The reason, which the status shows.")
@plugin_option
@hub_options
def cordon(device: str, reason: str, plugin: str | None, hub: TargetHub) -> None:
    """Mark DEVICE unschedulable until it is uncordoned. Containers that use it keep it.

    If containers share the device, all its shares are cordoned. The cordon persists across restarts of the plugin, the
    hub and the pod. DEVICE is the id of a device or at least its first eight characters, the id of a physical device, a
    PCI address, a name such as mlx5_0, or, if ids are not unique, as in RDMA pools, a resource and an id as one
    argument ("rdma/hca 0"). Without --reason, an earlier reason is kept.
    """
    _do_to(device, plugin, hub, lambda key: Cordon(key, reason))


@click.command(epilog=examples("dphub uncordon stub-1"))
@click.argument("device", shell_complete=releasable)
@plugin_option
@hub_options
def uncordon(device: str, plugin: str | None, hub: TargetHub) -> None:
    """Make DEVICE schedulable again: a device that is cordoned, is flapping, or was broken and has been repaired."""
    _do_to(device, plugin, hub, Uncordon)


@click.command(epilog=examples("dphub reset 0000:1b:00.0"))
@click.argument("device", shell_complete=devices)
@plugin_option
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
    name, key = hub.find_device(device, plugin)
    _do(hub, name, request(key))


def _do(hub: TargetHub, plugin: str, request: Request) -> None:
    response = hub.send(plugin, request)
    echo(f"{plugin}: {response.message}", error=not response.ok)
    sys.exit(Exit.OK if response.ok else Exit.FAILED)
