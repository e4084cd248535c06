"""`dphub cordon`, `uncordon`, `reset` and `log-level`: what a running plugin does for an operator."""

import sys
from collections.abc import Callable

import click

from hub.base.exits import Exit
from hub.base.log import LogLevel
from hub.cli.completing import devices, plugins, releasable
from hub.cli.render.text import echo, examples, printable
from hub.cli.target import TargetHub, hub_options, plugin_of
from hub.model.admin import Cordon, Request, Reset, SetLogLevel, Uncordon
from hub.status.lookup import find_device

LONGEST_REASON = 500
"""Characters of a reason, which stands in a line of the status; a plugin takes a request of 64 KiB."""


def _reason(_context: click.Context, _parameter: click.Parameter, said: str) -> str:
    if len(said) > LONGEST_REASON:
        raise click.BadParameter(f"it has {len(said)} characters, and may have {LONGEST_REASON}")
    return printable(said)


_plugin = click.option(
    "--plugin", shell_complete=plugins, help="Whose device it is, where several plugins have one of that name."
)


@click.command(
    epilog=examples(
        'dphub cordon stub-1 --reason "the fan is loud"', "dphub cordon 0000:1b:00.0", "dphub cordon mlx5_0"
    )
)
@click.argument("device", shell_complete=devices)
@click.option("--reason", default="", callback=_reason, help="Why; it is shown in the status.")
@_plugin
@hub_options
def cordon(device: str, reason: str, plugin: str | None, hub: TargetHub) -> None:
    """Take DEVICE out of use, with all its shares, until it is uncordoned: also across restarts of plugin, hub and pod.

    DEVICE is an id or the first eight or more characters of it, a physical device, a PCI address, or a name such as
    mlx5_0; "RESOURCE ID" is one, too, as for the numbers of pools. A pod that has it keeps it. An earlier reason stays
    where none is given.
    """
    _do_to(device, plugin, hub, lambda key: Cordon(key, reason))


@click.command(epilog=examples("dphub uncordon stub-1"))
@click.argument("device", shell_complete=releasable)
@_plugin
@hub_options
def uncordon(device: str, plugin: str | None, hub: TargetHub) -> None:
    """Let DEVICE be used again: one that was cordoned, that recovered too often, or that is broken and was mended."""
    _do_to(device, plugin, hub, Uncordon)


@click.command(epilog=examples("dphub reset 0000:1b:00.0"))
@click.argument("device", shell_complete=devices)
@_plugin
@hub_options
def reset(device: str, plugin: str | None, hub: TargetHub) -> None:
    """Reset DEVICE now, as before the start of a container, if nobody holds it or a share of it."""
    _do_to(device, plugin, hub, Reset)


@click.command("log-level", epilog=examples("dphub log-level gpu debug", "dphub log-level gpu info"))
@click.argument("plugin", shell_complete=plugins)
@click.argument("level", metavar="LEVEL", type=click.Choice([level.value for level in LogLevel]))
@hub_options
def log_level(plugin: str, level: str, hub: TargetHub) -> None:
    """Log everything of PLUGIN from LEVEL on (debug, info, warning or error), until it is restarted."""
    hub.plugin(plugin)
    _do(hub, plugin, SetLogLevel(LogLevel(level)))


def _do_to(device: str, plugin: str | None, hub: TargetHub, request: Callable[[str], Request]) -> None:
    """Find the device, and ask the plugin that has it."""
    status = hub.live_status()
    asked = [plugin_of(status, plugin)] if plugin is not None else status.plugins
    name, key = find_device(status, device, plugin, elsewhere=hub.other_hub(each.name for each in asked))
    _do(hub, name, request(key))


def _do(hub: TargetHub, plugin: str, request: Request) -> None:
    answer = hub.send(plugin, request)
    echo(f"{plugin}: {answer.message}", error=not answer.ok)
    sys.exit(Exit.OK if answer.ok else Exit.FAILED)
