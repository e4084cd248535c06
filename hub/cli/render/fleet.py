"""Shows the nodes of a cluster on a terminal."""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from hub.base.wording import counted
from hub.cli.render.node import SEVERITIES, health_text
from hub.cli.render.table import Cell, Column, Table
from hub.cli.render.text import duration, moment
from hub.model.node import NodeStatus, Problem, Severity
from hub.status.lookup import KnownDevice

if TYPE_CHECKING:
    from hub.cli.fleet.filters import Filter, Holder, NodeAllocation
    from hub.cli.fleet.queries import Answers, NodeAnswer

_COMMAND = re.compile(r"\bdphub (cordon|uncordon|restart) ")


def status_screen(found: "Answers[NodeStatus]", wanted: "Filter") -> RenderableType:
    """Show a line for each node, those without a response first, then those with problems."""
    shown = [
        (each, wanted.devices(each.value) if each.value else [])
        for each in found.nodes
        if each.value is None or wanted.matches_all or wanted.devices(each.value)
    ]
    table = Table(
        Column("node"),
        Column("status", leaves=1, label=""),
        Column("healthy"),
        Column("used", leaves=2),
        Column("version", leaves=4),
        Column("problem", min_width=30, leaves=3, label=""),
    )
    for each, devices in sorted(shown, key=lambda pair: _urgency(pair[0])):
        table.add(*_node_row(each, devices))
    known = [(each.device.healthy, bool(each.device.holder)) for _, devices in shown for each in devices]
    healthy, used = (sum(column) for column in zip(*known, strict=True)) if known else (0, 0)
    unanswered = f", {len(found.unanswered)} without a response" if found.unanswered else ""
    total = (
        f"{counted(len(shown), 'node')}{unanswered}; {healthy} of {counted(len(known), 'device')} healthy, {used} used"
    )
    return Group(Text(total, "bold"), Text(), table)


def _urgency(answer: "NodeAnswer[NodeStatus]") -> int:
    if answer.value is None:
        return -1
    worst = _worst(answer.value)
    return list(Severity).index(worst.severity) if worst else len(Severity)


def _worst(status: NodeStatus) -> Problem | None:
    """Return the worst problem that needs attention."""
    return next((problem for problem in status.problems if problem.severity is not Severity.INFO), None)


def _node_row(answer: "NodeAnswer[NodeStatus]", devices: Sequence[KnownDevice]) -> Iterator[Cell]:
    status = answer.value
    yield Text(answer.node, "bold")
    if status is None:
        yield from (Text("no response", "bold red"), "", "", "", Text(answer.reason, "red"))
        return
    worst = _worst(status)
    _, style = SEVERITIES[worst.severity] if worst else ("", "green")
    yield Text(worst.severity if worst else "ok", style)
    healthy = sum(each.device.healthy for each in devices)
    yield Text(f"{healthy} of {len(devices)}", "yellow" if healthy < len(devices) else "")
    yield str(sum(bool(each.device.holder) for each in devices))
    yield status.hub.report.version
    others = sum(problem.severity is not Severity.INFO for problem in status.problems) - 1
    more = f"; and {others} more" if others > 0 else ""
    yield f"{worst.about}: {worst.message}{more}" if worst else ""


def devices_screen(found: Sequence[tuple[str, KnownDevice]]) -> RenderableType:
    """Show a line for each device."""
    table = Table(
        Column("node"),
        Column("device"),
        Column("resource", leaves=1, label=""),
        Column("health"),
        Column("used by", min_width=20, leaves=2),
        Column("reason", below=True, label=""),
    )
    for node, known in found:
        device = known.device
        reason = Text(device.reason, "yellow")
        table.add(node, device.id, known.resource, health_text(device), device.holder, reason)
    return table if found else Text("No devices match.")


def problems_screen(found: Sequence[tuple[str, Problem]]) -> RenderableType:
    """Show a line for each problem, with the command that fixes it, as it is run on this machine."""
    table = Table(Column(""), Column("node"), Column("about", leaves=1, label=""), Column("problem", min_width=30))
    for node, problem in found:
        sign, style = SEVERITIES[problem.severity]
        text = Text(problem.message)
        if problem.remedy:
            remedy = _COMMAND.sub(rf"kubectl dphub \1 {node} ", problem.remedy)
            text.append(f"  → {remedy}", "cyan")
        table.add(Text(sign, style), node, Text(problem.about, style), text)
    return table if found else Text("No problems found.", "bold green")


def holders_screen(found: Sequence["Holder"]) -> RenderableType:
    """Show a line for each container and resource."""
    table = Table(
        Column("used by", min_width=20),
        Column("node"),
        Column("resource", leaves=1, label=""),
        Column("count", leaves=2),
        Column("devices", min_width=20, leaves=3),
    )
    for each in found:
        table.add(each.container, each.node, each.resource, str(len(each.devices)), ", ".join(each.devices))
    return table if found else Text("No containers are using matching devices.")


def history_screen(found: Sequence["NodeAllocation"]) -> RenderableType:
    """Show a line for each allocation."""
    table = Table(
        Column("from"),
        Column("to"),
        Column("duration", leaves=3),
        Column("node"),
        Column("device"),
        Column("resource", leaves=2, label=""),
        Column("used by", min_width=20, leaves=1),
    )
    for node, _, each in found:
        ended: Cell = moment(each.until) if each.until else Text("in use", "green")
        lasted = duration((each.until or time.time()) - each.since)
        table.add(moment(each.since), ended, lasted, node, each.device, each.resource, each.holder)
    return table if found else Text("No containers have used matching devices.")


def with_unanswered(screen: RenderableType, found: "Answers[Any]") -> RenderableType:
    """Add the nodes that did not answer."""
    return Group(screen, *_unanswered(found.unanswered))


def _unanswered(unanswered: Iterable["NodeAnswer[Any]"]) -> Iterator[RenderableType]:
    table = Table(Column("", min_width=1))
    for each in unanswered:
        table.add(Text(f"{each.node} did not answer: {each.reason}", "yellow"))
    yield table
