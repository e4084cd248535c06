"""`dphub status`: the status of a node, and what is wrong."""

import sys

import click
import msgspec

from hub.base.exits import Exit
from hub.cli.completing import plugins
from hub.cli.render.text import echo_json, examples
from hub.cli.target import TargetHub, hub_options, plugin_of
from hub.model.node import NodeStatus, Severity
from hub.status.problems import problems_of_plugin


@click.command(epilog=examples("dphub status", "dphub status gpu", "dphub status --json"))
@click.argument("plugin", required=False, shell_complete=plugins)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document; see docs/operating.md.")
@click.option("--watch", is_flag=True, help="Keep refreshing the output until interrupted.")
@hub_options
def status(plugin: str | None, *, as_json: bool, watch: bool, hub: TargetHub) -> None:
    """Show the hub, its plugins and their resources, or one PLUGIN; problems come first.

    The exit code is 0 when nothing needs attention, and 1 when something does.
    """
    if as_json and watch:
        raise click.UsageError("--json prints once and cannot be combined with --watch")
    now = hub.status_with_holders()
    subject = _plugin_json(now, plugin) if plugin else now
    if as_json:
        echo_json(subject)
    else:
        _show(hub, now, plugin, watch=watch)
    problems = problems_of_plugin(plugin, now.problems) if plugin else now.problems
    sys.exit(Exit.OK if all(problem.severity is Severity.INFO for problem in problems) else Exit.FAILED)


def _plugin_json(status: NodeStatus, plugin: str) -> dict[str, object]:
    """Convert a plugin's status, and add whether the hub is running: if not, the status is the last known one."""
    fields: dict[str, object] = msgspec.to_builtins(plugin_of(status, plugin))
    return {"hub_running": status.hub.running} | fields


def _show(hub: TargetHub, now: NodeStatus, plugin: str | None, *, watch: bool) -> None:
    from hub.cli.render.live import show  # noqa: PLC0415 - as below
    from hub.cli.render.node import node_screen, plugin_screen  # noqa: PLC0415 - JSON does not need the terminal library

    def latest() -> NodeStatus:
        return hub.status_with_holders() if watch else now

    if plugin:
        show(lambda: plugin_screen(status := latest(), plugin_of(status, plugin)), watch=watch)
    else:
        show(lambda: node_screen(latest()), watch=watch)
