"""`dphub devices`: every device on a node, and the container that uses it."""

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path

import click
import msgspec

from hub.base.errors import HubError
from hub.base.exits import Exit
from hub.base.wording import did_you_mean
from hub.cli.completing import everything
from hub.cli.render.text import click_errors, echo, echo_json, examples
from hub.cli.target import TargetHub, hub_options
from hub.model.node import NodeStatus, PluginStatus
from hub.status.lookup import KnownDevice, display_names, excluded, group_names, matching_devices, unknown


def _or_scan(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options with which the command needs no hub."""

    @click.option(
        "--scan",
        "file",
        metavar="FILE",
        type=click.Path(path_type=Path, readable=False),
        help="Show the devices that a plugin would advertise with this configuration file, without a hub or a kubelet.",
    )
    @click.option(
        "--plugin",
        metavar="NAME",
        help="With --scan: the plugin, by the name of its section in circus.ini, or as MODULE:CLASS.",
    )
    @click.option(
        "--host-root",
        type=click.Path(path_type=Path, readable=False),
        help="With --scan: the directory with the node's file system.",
        envvar="DPHUB_HOST_ROOT",
    )
    @wraps(command)
    def chosen(
        *arguments: object, file: Path | None, plugin: str | None, host_root: Path | None, **options: object
    ) -> None:
        if (file is None) != (plugin is None):
            raise click.UsageError("--scan FILE and --plugin NAME must be used together")
        if file is None or plugin is None:
            command(*arguments, **options)
            return
        from hub.cli.plugincheck import check_one_plugin, target_of  # noqa: PLC0415 - 0.1 s; a list does not need circus

        if options["wanted"] or options["watch"]:
            raise click.UsageError("--scan shows all devices of the plugin, once")
        with click_errors():
            target = target_of(plugin)
            sys.exit(check_one_plugin(target, file, host_root, ["--scan"], as_json=bool(options["as_json"])))

    return chosen


@click.command(
    epilog=examples(
        "dphub devices",
        "dphub devices gpu",
        "dphub devices 0000:1b:00.0",
        "dphub devices --json | jq .id",
        "dphub devices --plugin stub --scan stub.yaml",
    )
)
@click.argument("wanted", metavar="[PLUGIN|RESOURCE|DEVICE]", required=False, shell_complete=everything)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each device.")
@click.option("--watch", is_flag=True, help="Keep refreshing the output until interrupted.")
@_or_scan
@hub_options
def devices(wanted: str | None, *, as_json: bool, watch: bool, hub: TargetHub) -> None:
    """Show every device, or those of one PLUGIN or RESOURCE: health, location, attributes, and the container using it.

    For one DEVICE, also show when its health changed, the PCI bridges above it, its last reset, and the warnings about
    its resource, such as a device file that does not exist. DEVICE is the id of a device or a prefix of one, the
    id of a physical device, a PCI address, or a name such as mlx5_0.

    With --plugin and --scan, show the devices of a plugin as they would be with a configuration file, and which of its
    settings match nothing: use this while writing such a file. The plugin's code is loaded, and changes nothing.

    The exit code is 1 when the hub is not running; in that case, the last known state is shown.
    """
    if as_json and watch:
        raise click.UsageError("--json prints once and cannot be combined with --watch")
    status = hub.status_with_holders()
    if wanted is not None:
        _check(status, wanted)
    if as_json:
        for line in _lines(status, wanted):
            echo_json(line, pretty=False)
    else:
        from hub.cli.render.devices import device_screen  # noqa: PLC0415 - JSON does not need the terminal library
        from hub.cli.render.live import show  # noqa: PLC0415 - as above

        show(lambda: device_screen(hub.status_with_holders() if watch else status, wanted), watch=watch)
    sys.exit(_print_missing(hub.status(), wanted))


def _check(status: NodeStatus, wanted: str) -> None:
    """Raise an error unless something on the node has this name."""
    groups = group_names(status)
    if wanted in groups or matching_devices(status, wanted):
        return
    reason = excluded(status.plugins, wanted)
    known = f"the plugins and resources are {', '.join(groups)}{unknown(status.plugins)}"
    meant = did_you_mean(wanted, (*groups, *display_names(matching_devices(status))))
    raise HubError(f"there is no plugin, resource or device {wanted}{reason}; {known}{meant}")


def _print_missing(status: NodeStatus, wanted: str | None) -> int:
    """Print what the list lacks, and return the exit code."""
    if not status.hub.running:
        return Exit.FAILED
    asked = [plugin for plugin in status.plugins if wanted in (None, plugin.name)]
    if wanted and any(plugin.is_off for plugin in asked):
        echo(f"{wanted} is stopped; start it with dphub start {wanted}", error=True)
    if silent := unknown(asked).removeprefix("; "):
        echo(f"Incomplete: {silent}.", error=True)
    print_unknown_holders(status.plugins)
    return Exit.OK


def print_unknown_holders(plugins: Iterable[PluginStatus]) -> None:
    """Print a message if it is not known which containers use the devices of plugins."""
    if any(plugin.report.resources and not plugin.report.holders_known for plugin in plugins):
        echo("Cannot determine which containers use which devices: the pod resources API is unavailable.", error=True)


def _lines(status: NodeStatus, wanted: str | None) -> Iterable[dict[str, object]]:
    """Return one line for each device, including those that were removed but are still in use."""
    return (_line(status, device) for device in matching_devices(status, wanted))


def _line(status: NodeStatus, known: KnownDevice) -> dict[str, object]:
    about = {"plugin": known.plugin, "resource": known.resource, "hub_running": status.hub.running}
    device: dict[str, object] = msgspec.to_builtins(known.device)
    return about | device
