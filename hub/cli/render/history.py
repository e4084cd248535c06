"""Shows on a terminal which containers used which devices."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from hub.cli.render.node import last_known
from hub.cli.render.table import Cell, Column, Table
from hub.cli.render.text import duration, moment
from hub.model.history import Allocation
from hub.model.node import NodeStatus
from hub.status.history import KnownAllocation


def history_screen(status: NodeStatus, found: Sequence[KnownAllocation]) -> RenderableType:
    """Show allocations, each with what happened to its device during that time."""
    table = Table(
        Column("from"),
        Column("to"),
        Column("duration", leaves=3),
        Column("device"),
        Column("resource", leaves=2, label=""),
        Column("used by", min_width=20, leaves=1),
        Column("health", below=True, label=""),
        style="" if status.hub.running else "dim",
    )
    for _, allocation in found:
        table.add(*_row(allocation, status.time if status.hub.running else status.hub.last_heartbeat))
    return Group(*last_known(status), table if found else Text("No containers have used matching devices."))


def _row(allocation: Allocation, now: float) -> Iterator[Cell]:
    yield moment(allocation.since)
    yield moment(allocation.until) if allocation.until else Text("in use", "green")
    yield duration((allocation.until or now) - allocation.since)
    yield allocation.device
    yield allocation.resource
    yield allocation.holder
    changes = (f"{moment(each.time)} {each.health}: {each.reason}".removesuffix(": ") for each in allocation.health)
    yield Text("; ".join(changes), "yellow")
