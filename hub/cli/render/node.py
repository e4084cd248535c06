"""Shows the status of a node on a terminal."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from hub.base.wording import counted
from hub.cli.render.table import Column, Table
from hub.cli.render.text import ago, megabytes
from hub.model.node import Condition, NodeStatus, PluginStatus, Problem, Severity
from hub.model.plugin import DeviceStatus, ResourceStatus
from hub.status.lookup import health_of
from hub.status.problems import problems_of_plugin

SEVERITIES = {
    Severity.ERROR: ("✗", "bold red"),
    Severity.WARNING: ("!", "bold yellow"),
    Severity.INFO: ("·", "dim"),
}
_GOOD = {
    Condition.REGISTERED: "green",
    Condition.NO_RESOURCES: "dim",
    Condition.SUPERSEDED: "dim",
    Condition.EXTERNAL: "dim",
    Condition.STOPPED: "dim",
}
_IN_PROGRESS = {
    Condition.STARTING,
    Condition.REGISTERING,
    Condition.STANDBY,
    Condition.WAITING,
    Condition.STOPPING,
}
_HEALTH = {"healthy": "green", "removed": "red"}

ROWS = 40
"""Maximum number of devices that are listed individually; if a driver is missing, thousands may share one reason."""

USUAL_LEVEL = "info"


def node_screen(status: NodeStatus) -> RenderableType:
    """Show the whole node."""
    return Group(
        *last_known(status),
        _headline(status),
        *problem_table(status.problems, status.plugins),
        Text(),
        *_details(status, status.plugins),
    )


def plugin_screen(status: NodeStatus, plugin: PluginStatus) -> RenderableType:
    """Show one plugin."""
    problems = problem_table(problems_of_plugin(plugin.name, status.problems), [plugin])
    return Group(*last_known(status), *problems, Text(), *_details(status, [plugin]), *_resets(plugin))


def last_known(status: NodeStatus) -> Iterator[RenderableType]:
    """Show a first line that says how old the status is; nothing if the hub is running."""
    if status.hub.running:
        return
    why = (
        f"process {status.hub.report.pid} of the hub does not respond"
        if status.hub.unresponsive
        else "the hub is not running"
    )
    # A table of one cell, because rich leaves trailing spaces where it wraps text.
    table = Table(Column("", min_width=1))
    table.add(Text(f"Last known state, {ago(status.hub.last_heartbeat)} old: {why}.", "bold red"))
    yield table


def health_text(device: DeviceStatus) -> Text:
    """Describe a device's health in one colored word."""
    word = health_of(device)
    return Text(word, _HEALTH.get(word, "yellow"))


def _headline(status: NodeStatus) -> RenderableType:
    hub = status.hub
    line = Text.assemble(("Device Plugin Hub ", "bold"), hub.report.version)
    if hub.running:
        line.append(f"  up {ago(hub.report.started)}, process {hub.report.pid}, {megabytes(hub.memory)}")
        line.append(f"  kubelet {f'up {ago(hub.report.kubelet_since)}' if hub.report.kubelet_since else 'down'}")
        line.append(f"  {hub.report.http or 'no HTTP'}", "dim")
        line.append("  the node's service" if hub.service == hub.report.instance else "", "dim")
    # A table of one cell, because rich leaves trailing spaces where it wraps text.
    table = Table(Column("", min_width=1))
    table.add(line)
    return table


def problem_table(problems: Sequence[Problem], plugins: Iterable[PluginStatus] = ()) -> Iterator[RenderableType]:
    """List the problems; if nothing is wrong, say so and count the stopped plugins, which are not a problem."""
    if all(problem.severity is Severity.INFO for problem in problems):
        stopped = sum(plugin.condition is Condition.STOPPED for plugin in plugins)
        are = "is" if stopped == 1 else "are"
        more = f"; {counted(stopped, 'plugin')} {are} stopped" if stopped else ""
        yield Text(f"No problems found{more}.", "bold green")
    table = Table(Column(""), Column(""), Column("", min_width=20))
    for problem in problems:
        sign, style = SEVERITIES[problem.severity]
        text = Text(problem.message)
        if problem.remedy:
            text.append(f"  → {problem.remedy}", "cyan")
        table.add(Text(sign, style), Text(problem.about, style), text)
    if problems:
        yield table


def _details(status: NodeStatus, plugins: Sequence[PluginStatus]) -> Iterator[RenderableType]:
    style = "" if status.hub.running else "dim"
    yield _plugins(plugins) if status.hub.running else _former_plugins(plugins)
    resources = [resource for plugin in plugins for resource in plugin.report.resources]
    if resources:
        yield Text()
        yield _resources(resources, style)
    unhealthy = [device for each in resources for device in each.devices if not device.healthy]
    if unhealthy:
        yield Text()
        yield _unhealthy(unhealthy, style)
    if len(unhealthy) > ROWS:
        yield Text(f"and {len(unhealthy) - ROWS} more; see dphub devices")


def _plugins(plugins: Iterable[PluginStatus]) -> RenderableType:
    table = Table(
        Column("plugin"),
        Column("condition", min_width=11),
        Column("process", leaves=2),
        Column("up"),
        Column("restarts", leaves=1),
        Column("last exit", min_width=24, leaves=4),
        Column("memory", leaves=3),
        Column("log level", below=True),
    )
    for plugin in plugins:
        table.add(
            Text(plugin.name, "bold"),
            Text(plugin.condition, _style(plugin.condition)),
            str(plugin.process.pid or "-"),
            ago(plugin.process.started),
            str(sum(plugin.process.restarts.values())),
            _last_exit(plugin),
            megabytes(plugin.memory),
            "" if plugin.log_level == USUAL_LEVEL else plugin.log_level,
        )
    return table


def _former_plugins(plugins: Iterable[PluginStatus]) -> RenderableType:
    """Show the plugins of a hub that is not running: their last condition, but not their former processes."""
    table = Table(
        Column("plugin"), Column("condition (last known)", min_width=11), Column("last exit", 24, 1), style="dim"
    )
    for plugin in plugins:
        table.add(plugin.name, plugin.condition, _last_exit(plugin))
    return table


def _last_exit(plugin: PluginStatus) -> str:
    return (
        f"{ago(plugin.process.last_exit.ended)} ago: {plugin.process.last_exit.reason}"
        if plugin.process.last_exit
        else "-"
    )


def _resources(resources: Iterable[ResourceStatus], style: str) -> RenderableType:
    columns = Column("resource"), Column("registration", min_width=12), Column("healthy"), Column("allocated")
    table = Table(*columns, style=style)
    for resource in resources:
        short = resource.allocatable < resource.capacity
        table.add(
            Text(resource.name, "bold"),
            Text(resource.registration, "green" if resource.registration == "registered" else "yellow"),
            Text(f"{resource.allocatable} of {resource.capacity}", "yellow" if short else ""),
            "unknown" if resource.allocated is None else str(resource.allocated),
        )
    return table


def _unhealthy(devices: Sequence[DeviceStatus], style: str) -> RenderableType:
    table = Table(
        Column("not healthy"),
        Column("health", leaves=1, label=""),
        Column("duration", leaves=2),
        Column("reason", min_width=24, leaves=4, label=""),
        Column("used by", min_width=16, leaves=3),
        style=style,
    )
    for device in devices[:ROWS]:
        table.add(device.id, health_text(device), ago(device.since), device.reason, device.holder)
    return table


def _resets(plugin: PluginStatus) -> Iterator[RenderableType]:
    table = Table(
        Column("last reset: device"),
        Column("outcome", leaves=1),
        Column("ago", leaves=2),
        Column("took", leaves=3),
        Column("message", min_width=24, leaves=4),
    )
    latest = sorted(plugin.report.resets.items(), key=lambda reset: -reset[1].ended)
    for name, reset in latest[:ROWS]:
        table.add(name, reset.outcome, ago(reset.ended), f"{reset.seconds:.2f} s", reset.message)
    if latest:
        yield Text()
        yield table


def _style(condition: Condition) -> str:
    return _GOOD.get(condition) or ("yellow" if condition in _IN_PROGRESS else "bold red")
