"""Random changes to a node with devices, and the devices after each change."""

import random
from typing import TYPE_CHECKING, Any

from tests.simulators.generictree import GenericTree

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "resources": [
        {"name": "e.com/tty", "files": ["/dev/ttyUSB*"]},
        {"name": "e.com/usb", "usb": [{"vendor": "1a86"}]},
        {"name": "e.com/link", "files": ["/dev/serial/by-id/*"], "count": 2},
        {"name": "e.com/pair", "groups": [{"files": [{"path": "/dev/a*"}, {"path": "/dev/b*"}]}]},
        {"name": "e.com/vfio", "pci": [{"vendor": "10ee"}], "vfio": True},
    ]
}

RESOURCES = [str(resource["name"]) for resource in SETTINGS["resources"]]

_PORTS = [f"1-{hub}.{port}" for hub in (1, 2) for port in range(1, 5)]
_FUNCTIONS = {f"0000:3b:00.{number}": number // 2 for number in range(6)}
"""PCI functions, with the numbers of their IOMMU groups."""

_NUMBERS = range(1, 25)

Offered = tuple[str, str, str]
"""A device: its resource, its id and its first file on the node."""


class Edits:
    """Random changes to a node's links, files, drivers and USB adapters, which get new numbers when plugged in again.

    Args:
        tree: The node.
        choices: The source of random choices.
    """

    def __init__(self, tree: GenericTree, choices: random.Random) -> None:
        self._tree, self._choices = tree, choices
        self._usb: dict[str, tuple[Path, int, list[int]]] = {}
        self._links: dict[str, int] = {}
        self._files: set[str] = set()
        self._functions = {address: tree.pci(address, group=group) for address, group in _FUNCTIONS.items()}
        self._bound: set[str] = set()

    def make(self) -> None:
        """Make one change."""
        self._choices.choice(
            [self._edit_adapter, self._edit_adapter, self._edit_link, self._edit_file, self._edit_driver]
        )()

    @property
    def expected(self) -> set[Offered]:
        """All devices that the node has now."""
        return {*self._serial(), *self._linked(), *self._pairs(), *self._groups()}

    @property
    def _adapters(self) -> set[int]:
        return {number for _, _, numbers in self._usb.values() for number in numbers}

    def _edit_adapter(self) -> None:
        port = self._choices.choice(_PORTS)
        if port in self._usb:
            self._tree.remove(self._usb.pop(port)[0])
            return
        address = self._choices.choice(sorted({*_NUMBERS} - {number for _, number, _ in self._usb.values()}))
        free = sorted({*_NUMBERS} - self._adapters)
        numbers = sorted(self._choices.sample(free, self._choices.choice([1, 1, 2])))
        adapter = self._tree.usb(port, number=address)
        self._usb[port] = adapter, address, numbers
        for each in numbers:
            self._tree.part(adapter, f"ttyUSB{each}", "tty")

    def _edit_link(self) -> None:
        name = f"link{self._choices.randrange(4)}"
        if self._links.pop(name, None) is not None:
            (self._tree.root / f"dev/serial/by-id/{name}").unlink()
            return
        self._links[name] = self._choices.choice(_NUMBERS)
        self._tree.link(f"serial/by-id/{name}", f"../../ttyUSB{self._links[name]}")

    def _edit_file(self) -> None:
        name = f"{self._choices.choice('ab')}{self._choices.randrange(12)}"
        if name in self._files:
            (self._tree.root / "dev" / name).unlink()
        else:
            self._tree.file(name)
        self._files ^= {name}

    def _edit_driver(self) -> None:
        address = self._choices.choice(list(_FUNCTIONS))
        self._bound ^= {address}
        self._tree.bind(self._functions[address], "vfio-pci" if address in self._bound else "nvme")
        # The kernel creates the file of the group with the first function, and removes it with the last.
        group = f"vfio/{_FUNCTIONS[address]}"
        if any(_FUNCTIONS[each] == _FUNCTIONS[address] for each in self._bound):
            self._tree.file(group)
        else:
            (self._tree.root / "dev" / group).unlink()

    def _serial(self) -> set[Offered]:
        found = set()
        for port, (_, number, numbers) in self._usb.items():
            found.add(("e.com/usb", port, f"/dev/bus/usb/001/{number:03}"))
            for rank, each in enumerate(numbers):
                found.add(("e.com/tty", f"{port}:1.0-ttyUSB" + (f".{rank}" if rank else ""), f"/dev/ttyUSB{each}"))
        return found

    def _linked(self) -> set[Offered]:
        # Of two links to the same file, the first one wins.
        first = {number: name for name, number in sorted(self._links.items(), reverse=True) if number in self._adapters}
        return {
            ("e.com/link", f"{name}::{share}", f"/dev/ttyUSB{number}")
            for number, name in first.items()
            for share in (0, 1)
        }

    def _pairs(self) -> set[Offered]:
        names = {name for name in self._files if name.replace("a", "b") in self._files and name[0] == "a"}
        return {("e.com/pair", name, f"/dev/{name}") for name in names}

    def _groups(self) -> set[Offered]:
        whole = {group for address, group in _FUNCTIONS.items() if address in self._bound}
        whole -= {group for address, group in _FUNCTIONS.items() if address not in self._bound}
        return {("e.com/vfio", f"0000:3b:00.{2 * group}", f"/dev/vfio/{group}") for group in whole}
