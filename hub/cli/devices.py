"""`dphub devices`: every device of a node, and who has it."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import click
import msgspec

from hub.cli.node import NodeHub, hub_options
from hub.control import AskHolders, ask
from hub.errors import HubError
from hub.exits import Exit
from hub.state import DeviceState
from hub.status.finding import GONE, resources_of, unknown
from hub.status.model import NodeStatus

HOLDERS_SECONDS = 3.0
"""How long a plugin has to find out who holds what; its kubelet has two."""


@click.command()
@click.argument("resource", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each device.")
@click.option("--watch", is_flag=True, help="Keep it on the screen and up to date, until interrupted.")
@hub_options
def devices(resource: str | None, *, as_json: bool, watch: bool, hub: NodeHub) -> None:
    """Show every device, or those of one RESOURCE or plugin: its health, where it is, what it is, and who holds it.

    The exit code is 1 when the hub does not run, and what is shown is what was last known.
    """
    if as_json and watch:
        raise click.UsageError("--json prints once, and is not watched")
    _check(hub.status(), resource)
    if as_json:
        for line in _lines(_now(hub), resource):
            sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    else:
        from hub.cli.listing import device_table  # noqa: PLC0415 - JSON can do without the terminal library
        from hub.cli.showing import show  # noqa: PLC0415 - likewise

        show(lambda: device_table(_now(hub), resource), watch=watch)
    sys.exit(_say_what_is_lacking(hub.status(), resource))


def _check(status: NodeStatus, resource: str | None) -> None:
    known = [name for plugin in status.plugins for name in (plugin.name, *(each.name for each in plugin.resources))]
    if resource is not None and resource not in known:
        there = f"there are {', '.join(known)}{unknown(status.plugins)}"
        raise HubError(f"there is no resource or plugin {resource}; {there}")


def _now(hub: NodeHub) -> NodeStatus:
    """The node, once every plugin has asked the kubelet; from one that cannot, what it knew last is shown."""
    status = hub.status()
    if not status.hub.running:
        return status

    def ask_one(name: str) -> None:
        with suppress(HubError):
            ask(hub.run_dir.plugin_control(name), AskHolders(), HOLDERS_SECONDS)

    with ThreadPoolExecutor() as workers:
        list(workers.map(ask_one, [plugin.name for plugin in status.plugins if plugin.pid]))
    return hub.status()


def _say_what_is_lacking(status: NodeStatus, resource: str | None) -> int:
    """What the list cannot tell, and the exit code."""
    if not status.hub.running:
        how = "shows no life" if status.hub.frozen else "does not run"
        click.echo(f"The hub {how}; what is shown is what was last known.", err=True)
        return Exit.FAILED
    asked = [plugin for plugin in status.plugins if resource in (None, plugin.name)]
    if silent := unknown(asked).removeprefix("; "):
        click.echo(f"Not all is shown: {silent}.", err=True)
    if any(plugin.resources and not plugin.holders_known for plugin in status.plugins):
        click.echo("Who holds what is not known: the kubelet's pod resources API does not answer.", err=True)
    return Exit.OK


def _lines(status: NodeStatus, wanted: str | None) -> list[dict[str, object]]:
    """One for each device, and for each that is held and not offered any more."""
    lines: list[dict[str, object]] = []
    for plugin, resource in resources_of(status, wanted):
        gone = [DeviceState(name, healthy=False, reason=GONE, holder=who) for name, who in resource.unlisted.items()]
        about = {"plugin": plugin, "resource": resource.name}
        lines += [about | msgspec.to_builtins(device) for device in (*resource.devices, *gone)]
    return lines
