"""Shows all of a node's devices on a terminal, or one in detail."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from hub.cli.render.node import health_text, last_known, problem_table
from hub.cli.render.table import Cell, Column, Table
from hub.cli.render.text import ago
from hub.model.node import NodeStatus
from hub.status.lookup import KnownDevice, group_names, matching_devices
from hub.status.problems import problems_of_plugin


def device_screen(status: NodeStatus, wanted: str | None) -> RenderableType:
    """Show all devices, those of one resource or plugin, or one in detail."""
    found = matching_devices(status, wanted)
    if wanted is None or wanted in group_names(status):
        return Group(*_past(status), _table(status, found), *_empty(status, wanted))
    physical: dict[tuple[str, str], list[KnownDevice]] = {}
    for each in found:
        physical.setdefault(each.key, []).append(each)
    parts = _past(status)
    for number, shares in enumerate(physical.values()):
        parts += [Text()] if number else []
        parts += _one(status, shares)
    return Group(*parts)


def _past(status: NodeStatus) -> list[RenderableType]:
    """Show how old the status is, why, and what to do, if the hub is not running."""
    if status.hub.running:
        return []
    return [*last_known(status), *problem_table(problems_of_plugin("hub", status.problems)), Text()]


def _table(status: NodeStatus, found: Iterable[KnownDevice]) -> Table:
    table = Table(
        Column("device"),
        Column("resource", leaves=1, label=""),
        Column("health" if status.hub.running else "health (last known)"),
        Column("NUMA", leaves=3),
        Column("PCI", leaves=4),
        Column("used by", min_width=20, leaves=5),
        Column("reason", below=True, label=""),
        Column("attributes", min_width=30, leaves=6, label=""),
        style=_style(status),
    )
    for known in found:
        table.add(*_row(known))
    return table


def _empty(status: NodeStatus, wanted: str | None) -> Iterator[RenderableType]:
    """List the resources that have no device, if the reason for that is known."""
    table = Table(Column("resource without devices"), Column("reason", min_width=20), style=_style(status))
    shown = False
    for plugin in status.plugins:
        for resource in plugin.report.resources:
            if wanted in {None, plugin.name, resource.name} and resource.reason and not resource.devices:
                table.add(resource.name, Text(resource.reason, "yellow" if plugin.report.fault else ""))
                shown = True
    if shown:
        yield Text()
        yield table


def _row(known: KnownDevice) -> Iterator[Cell]:
    device = known.device
    yield device.id
    yield known.resource
    yield health_text(device)
    yield ", ".join(map(str, device.numa))
    yield ", ".join(device.pci)
    yield device.holder
    yield Text(device.reason, "yellow")
    yield _attributes(device.attributes)


def _attributes(attributes: Mapping[str, str]) -> Text:
    return Text(", ".join(f"{name} {value}" for name, value in attributes.items()), "dim")


def _one(status: NodeStatus, shares: Sequence[KnownDevice]) -> Iterator[RenderableType]:
    """Show a physical device: what its shares have in common, and below that each share, if there are several."""
    table = Table(Column(""), Column("", min_width=20), style=_style(status))
    for name, value in _facts(status, shares):
        if str(value):
            table.add(Text(name, "dim"), value)
    yield table
    if len(shares) > 1:
        yield Text()
        yield _shares(status, shares)


def _facts(status: NodeStatus, shares: Sequence[KnownDevice]) -> Iterator[tuple[str, Cell]]:
    known, *others = shares
    device, (plugin, key) = known.device, known.key
    yield "device", Text(device.id if not others else key, "bold")
    yield "physical device", "" if others or device.physical == device.id else device.physical
    yield "resource", ", ".join(dict.fromkeys(each.resource for each in shares))
    yield "plugin", plugin
    if not others:
        yield "health", health_text(device)
        yield "since", f"{ago(device.since)} ago" if device.since else ""
        yield "reason", Text(device.reason, "yellow")
        yield "used by", device.holder or ("no container" if _holders_known(status, plugin) else "unknown")
    yield "NUMA node", ", ".join(map(str, device.numa))
    yield "PCI address", ", ".join(device.pci)
    yield "PCI bridges", ", ".join(device.upstream)
    yield from device.attributes.items()
    names = {each.resource for each in shares}
    owner = next((each for each in status.plugins if each.name == plugin), None)
    resources = [each for each in owner.report.resources if each.name in names] if owner else []
    # The warnings of the whole resource: if many devices share a missing file, a warning names only some of them.
    yield from (("warning", Text(text, "yellow")) for each in resources for text in each.warnings)
    reset = owner.report.resets.get(key) if owner else None
    yield "last reset", f"{reset.outcome}, {ago(reset.ended)} ago: {reset.message}".removesuffix(": ") if reset else ""


def _shares(status: NodeStatus, shares: Iterable[KnownDevice]) -> Table:
    table = Table(
        Column("share"),
        Column("resource", leaves=1, label=""),
        Column("health"),
        Column("used by", min_width=20, leaves=2),
        Column("reason", below=True, label=""),
        style=_style(status),
    )
    for each in shares:
        reason = Text(each.device.reason, "yellow")
        table.add(each.device.id, each.resource, health_text(each.device), each.device.holder, reason)
    return table


def _holders_known(status: NodeStatus, plugin: str) -> bool:
    return any(each.report.holders_known for each in status.plugins if each.name == plugin)


def _style(status: NodeStatus) -> str:
    return "" if status.hub.running else "dim"
