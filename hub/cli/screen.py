"""A node's condition on a terminal."""

from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hub.cli.words import ago, megabytes
from hub.state import DeviceState
from hub.status.model import Condition, NodeStatus, PluginStatus, ResourceStatus, Severity

_SEVERITIES = {
    Severity.FAULT: ("✗", "bold red"),
    Severity.DEGRADED: ("!", "bold yellow"),
    Severity.NOTE: ("·", "dim"),
}
_GOOD = {Condition.REGISTERED: "green", Condition.STOPPED: "dim", Condition.HANDED_OVER: "dim"}
_ON_THE_WAY = {Condition.STARTING, Condition.SERVING, Condition.WAITING, Condition.STOPPING}

UNHEALTHY_ROWS = 40
"""The most devices that are shown one by one; where a driver is gone, thousands may share its reason."""


def node_screen(status: NodeStatus) -> RenderableType:
    """The whole node."""
    return Group(_headline(status), *_problems(status), Text(), _plugins(status.plugins), *_details(status.plugins))


def plugin_screen(status: NodeStatus, plugin: PluginStatus) -> RenderableType:
    """One plugin."""
    problems = [problem for problem in status.problems if problem.about == plugin.name]
    mine = NodeStatus(
        time=status.time,
        well=status.well,
        ready=status.ready,
        problems=tuple(problems),
        hub=status.hub,
        plugins=(plugin,),
    )
    return Group(*_problems(mine), Text(), _plugins([plugin]), *_details([plugin]), *_resets(plugin))


def device_table(plugins: Iterable[PluginStatus], wanted: str | None) -> RenderableType:
    """Every device, of one resource or plugin or of all."""
    table = _table("device", "resource", "health", "NUMA", "PCI", "held by", "what it is")
    for plugin in plugins:
        for resource in plugin.resources:
            if wanted in (None, plugin.name, resource.name):
                for device in resource.devices:
                    table.add_row(*_device_row(resource, device))
                for name, holder in resource.unlisted.items():
                    table.add_row(
                        name, resource.name, Text("gone", "red"), "", "", holder, "no more offered, still held"
                    )
    return table


def _device_row(resource: ResourceStatus, device: DeviceState) -> Iterator[RenderableType]:
    yield device.id
    yield resource.name
    yield _health(device)
    yield ", ".join(map(str, device.numa))
    yield ", ".join(device.pci)
    yield device.holder
    yield ", ".join(f"{name} {value}" for name, value in device.attributes.items())


def _headline(status: NodeStatus) -> Text:
    hub = status.hub
    line = Text.assemble(("Device Plugin Hub ", "bold"), hub.version)
    if hub.running:
        line.append(f"  up {ago(hub.started)}, process {hub.pid}, {megabytes(hub.memory)}")
        line.append(f"  kubelet {f'up {ago(hub.kubelet_since)}' if hub.kubelet_since else 'not there'}")
        line.append(f"  {hub.http or 'no HTTP'}", "dim")
    return line


def _problems(status: NodeStatus) -> Iterator[RenderableType]:
    if status.well:
        yield Text("All is well.", "bold green")
    grid = Table.grid(padding=(0, 1))
    for problem in status.problems:
        sign, style = _SEVERITIES[problem.severity]
        remedy = f"  → {problem.remedy}" if problem.remedy else ""
        grid.add_row(Text(sign, style), Text(problem.about, style), Text.assemble(problem.text, (remedy, "cyan")))
    if status.problems:
        yield grid


def _plugins(plugins: Iterable[PluginStatus]) -> RenderableType:
    table = _table("plugin", "condition", "process", "up", "restarts", "last exit", "memory")
    for plugin in plugins:
        table.add_row(
            Text(plugin.name, "bold"),
            Text(plugin.condition, _style(plugin.condition)),
            str(plugin.pid or "-"),
            ago(plugin.started),
            str(sum(plugin.restarts.values())),
            f"{ago(plugin.last_exit.ended)} ago: {plugin.last_exit.why}" if plugin.last_exit else "-",
            megabytes(plugin.memory),
        )
    return table


def _details(plugins: Iterable[PluginStatus]) -> Iterator[RenderableType]:
    plugins = list(plugins)
    resources = [resource for plugin in plugins for resource in plugin.resources]
    if resources:
        yield Text()
        yield _resources(resources)
    unhealthy = [device for each in resources for device in each.devices if not device.healthy]
    if unhealthy:
        yield Text()
        yield _unhealthy(unhealthy)


def _resources(resources: Iterable[ResourceStatus]) -> RenderableType:
    table = _table("resource", "registration", "devices", "healthy", "allocated")
    for resource in resources:
        short = resource.healthy < resource.total
        table.add_row(
            Text(resource.name, "bold"),
            Text(resource.registration, "green" if resource.registration == "registered" else "yellow"),
            str(resource.total),
            Text(str(resource.healthy), "yellow" if short else ""),
            "unknown" if resource.allocated is None else str(resource.allocated),
        )
    return table


def _unhealthy(devices: list[DeviceState]) -> RenderableType:
    table = _table("not healthy", "health", "for", "why", "held by")
    for device in devices[:UNHEALTHY_ROWS]:
        table.add_row(device.id, _health(device), ago(device.since), device.reason, device.holder)
    if len(devices) > UNHEALTHY_ROWS:
        table.add_row(f"and {len(devices) - UNHEALTHY_ROWS} more, see dphub devices")
    return table


def _resets(plugin: PluginStatus) -> Iterator[RenderableType]:
    if plugin.resets:
        table = _table("last reset of", "outcome", "ago", "took", "message")
        for name, reset in plugin.resets.items():
            table.add_row(name, reset.outcome, ago(reset.ended), f"{reset.seconds:.2f} s", reset.message)
        yield table


def _health(device: DeviceState) -> Text:
    if device.healthy:
        return Text("healthy", "green")
    return Text(device.health if device.source != "cordon" else "cordoned", "yellow")


def _style(condition: Condition) -> str:
    return _GOOD.get(condition) or ("yellow" if condition in _ON_THE_WAY else "bold red")


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim", expand=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table
