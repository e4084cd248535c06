"""`dphub history`: which containers used a node's devices, and when."""

import sys

import click
import msgspec

from hub.base.exits import Exit
from hub.base.untrusted import UnreadableError
from hub.cli.commands.devices import print_unknown_holders
from hub.cli.completing import plugins, used
from hub.cli.options import lines_option
from hub.cli.render.text import echo, echo_json, examples
from hub.cli.target import TargetHub, hub_options, plugin_of
from hub.model.node import NodeStatus
from hub.status.history import KnownAllocation, matching_allocations, read_history


@click.command(
    epilog=examples(
        "dphub history",
        "dphub history 0000:1b:00.0",
        "dphub history my-namespace/my-pod",
        "dphub history gpu -n 0 --json | jq .holder",
    )
)
@click.argument("wanted", metavar="[DEVICE|POD]", required=False, shell_complete=used)
@click.option("--plugin", metavar="NAME", shell_complete=plugins, help="Show only the devices of one plugin.")
@lines_option("Show the latest N allocations; 0 shows all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each allocation.")
@hub_options
def history(wanted: str | None, *, plugin: str | None, lines: int, as_json: bool, hub: TargetHub) -> None:
    """Show which containers used which devices and when, and how the devices' health changed during that time.

    The latest come first. DEVICE is the id of a device or a prefix of one, the id of a physical device, a PCI
    address, or a name such as mlx5_0; the name of a plugin or of a resource stands for all its devices. POD is a name,
    alone or as NAMESPACE/POD.

    Each plugin keeps the latest 1000 allocations that have ended. The times shown are those at which the plugin queried
    the kubelet, which it does every 30 seconds while a container uses a device.

    The exit code is 1 when the hub is not running, in which case the last known state is shown, and when a history
    cannot be read.
    """
    status = hub.status_with_holders()
    asked = [plugin_of(status, plugin)] if plugin is not None else status.plugins
    known: list[KnownAllocation] = []
    unreadable: list[UnreadableError] = []
    for each in asked:
        try:
            known += read_history(hub.run_dir, each.name)
        except UnreadableError as error:
            unreadable.append(error)
    found = matching_allocations(status, known, wanted)
    _print(status, found[:lines] if lines else found, as_json=as_json)
    for problem in unreadable:
        echo(f"Incomplete: {problem}", error=True)
    print_unknown_holders(asked)
    sys.exit(Exit.FAILED if unreadable or not status.hub.running else Exit.OK)


def _print(status: NodeStatus, found: list[KnownAllocation], *, as_json: bool) -> None:
    if as_json:
        for plugin, allocation in found:
            fields: dict[str, object] = msgspec.to_builtins(allocation)
            echo_json({"plugin": plugin, "hub_running": status.hub.running} | fields, pretty=False)
        return
    from hub.cli.render.history import history_screen  # noqa: PLC0415 - JSON does not need the terminal library
    from hub.cli.render.live import show  # noqa: PLC0415 - as above

    show(lambda: history_screen(status, found), watch=False)
