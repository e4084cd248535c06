"""Every device of a node on a terminal."""

from collections.abc import Iterator, Mapping

from rich.text import Text

from hub.cli.screen import health_of
from hub.cli.table import Cell, Column, Table
from hub.cli.words import plain
from hub.state import DeviceState
from hub.status.finding import GONE, resources_of
from hub.status.model import NodeStatus, ResourceStatus


def device_table(status: NodeStatus, wanted: str | None) -> Table:
    """Every device, of one resource or plugin or of all."""
    table = Table(
        Column("device"),
        Column("resource", leaves=1, label=""),
        Column("health" if status.hub.running else "health, as last told"),
        Column("NUMA", leaves=3),
        Column("PCI", leaves=4),
        Column("held by", least=20, leaves=5),
        Column("why", below=True, label=""),
        Column("what it is", least=30, leaves=6, label=""),
        style="" if status.hub.running else "dim",
    )
    for _plugin, resource in resources_of(status, wanted):
        for device in resource.devices:
            table.add(*_row(resource, device))
        for name, holder in resource.unlisted.items():
            table.add(name, resource.name, Text("gone", "red"), "", "", holder, Text(GONE, "yellow"), "")
    return table


def _row(resource: ResourceStatus, device: DeviceState) -> Iterator[Cell]:
    yield device.id
    yield resource.name
    yield health_of(device)
    yield ", ".join(map(str, device.numa))
    yield ", ".join(device.pci)
    yield device.holder
    yield Text(plain(device.reason), "yellow")
    yield _attributes(device.attributes)


def _attributes(attributes: Mapping[str, str]) -> Text:
    return Text(plain(", ".join(f"{name} {value}" for name, value in attributes.items())), "dim")
