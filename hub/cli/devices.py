"""`dphub devices`: every device of a node, and who has it."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import click
import msgspec

from hub.cli.node import NodeHub, hub_options
from hub.control import AskHolders, ask
from hub.errors import HubError
from hub.status.model import NodeStatus

HOLDERS_SECONDS = 3.0
"""How long a plugin has to find out who holds what; its kubelet has two."""


@click.command()
@click.argument("resource", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each device.")
@click.option("--watch", is_flag=True, help="Keep it on the screen and up to date, until interrupted.")
@hub_options
def devices(resource: str | None, *, as_json: bool, watch: bool, hub: NodeHub) -> None:
    """Show every device, or those of one RESOURCE or plugin: its health, where it is, what it is, and who holds it."""
    _check(hub.status(), resource)
    _ask_holders(hub)
    if as_json:
        for line in _lines(hub.status(), resource):
            sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
        return
    from hub.cli.screen import device_table  # noqa: PLC0415 - JSON can do without the terminal library
    from hub.cli.showing import show  # noqa: PLC0415 - likewise

    show(lambda: device_table(hub.status().plugins, resource), watch=watch)
    unknown = [plugin.name for plugin in hub.status().plugins if plugin.resources and not plugin.holders_known]
    if unknown:
        click.echo("Who holds what is not known: the kubelet's pod resources API does not answer.", err=True)


def _check(status: NodeStatus, resource: str | None) -> None:
    known = [name for plugin in status.plugins for name in (plugin.name, *(each.name for each in plugin.resources))]
    if resource is not None and resource not in known:
        raise HubError(f"there is no resource or plugin {resource}; there are {', '.join(known)}")


def _ask_holders(hub: NodeHub) -> None:
    """Have every plugin ask the kubelet now; from one that cannot, what it knew last is shown."""

    def ask_one(name: str) -> None:
        with suppress(HubError):
            ask(hub.run_dir.plugin_control(name), AskHolders(), HOLDERS_SECONDS)

    with ThreadPoolExecutor() as workers:
        list(workers.map(ask_one, [plugin.name for plugin in hub.status().plugins]))


def _lines(status: NodeStatus, wanted: str | None) -> list[dict[str, object]]:
    return [
        {"plugin": plugin.name, "resource": resource.name} | msgspec.to_builtins(device)
        for plugin in status.plugins
        for resource in plugin.resources
        if wanted in (None, plugin.name, resource.name)
        for device in resource.devices
    ]
