"""Reads what the kernel shows in sysfs and /proc.

A value that is missing or malformed is returned as empty, so that it affects only the device concerned.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from hub.api.host import Host
from hub.base.printable import printable
from hub.base.untrusted import UnreadableError, read_text

PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
"""A PCI address as sysfs writes it; the domain of devices behind some controllers has more than four digits."""

_PCI = "/sys/bus/pci/devices"

_NUMBER = re.compile("[0-9]{1,18}")
"""A number that fits in 64 bits; `isdigit` also accepts superscripts, which `int` does not."""


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key by which video2 comes before video10; a number may have any length."""
    parts = re.split("([0-9]+)", name)
    parts[1::2] = [number.lstrip("0") for number in parts[1::2]]
    return [(len(part) if place % 2 else 0, part) for place, part in enumerate(parts)]


def sorted_entries(directory: Path) -> Iterator[Path]:
    """Return the entries of a directory in natural order; none if it does not exist or is removed in the meantime."""
    try:
        names = [path.name for path in directory.iterdir()]
    except OSError:
        return
    for name in sorted(names, key=natural_order):
        yield directory / name


def read_attribute(path: Path) -> str:
    """Read an attribute as one line of printable text; empty if it does not exist or cannot be read."""
    try:
        return printable(read_text(path, errors="replace").strip())
    except UnreadableError:
        return ""


def read_number(path: Path) -> int | None:
    """Read an attribute that is a number, 0 or more; None if the kernel shows none."""
    text = read_attribute(path)
    return int(text) if _NUMBER.fullmatch(text) else None


def link_name(path: Path) -> str:
    """Return the name of what a link points to, such as a driver; empty if there is no link."""
    try:
        return path.readlink().name
    except OSError:
        return ""


class PciFunction:
    """A PCI function in sysfs. Each fact is read when it is first used, and not again.

    Args:
        path: Its directory, as this process finds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = path.name

    def __repr__(self) -> str:
        return f"PciFunction({str(self.path)!r})"

    def __str__(self) -> str:
        return f"{self.address} ({self.vendor}:{self.device})"

    @cached_property
    def vendor(self) -> str:
        """The id of its vendor, four hexadecimal digits such as "10de"; empty if unknown."""
        return self._hexadecimal("vendor")

    @cached_property
    def device(self) -> str:
        """The id of the device, four hexadecimal digits."""
        return self._hexadecimal("device")

    @cached_property
    def class_code(self) -> str:
        """Its class, six hexadecimal digits; they begin with "03" if it is a display controller."""
        return self._hexadecimal("class")

    @cached_property
    def driver(self) -> str:
        """The name of its driver; empty if none is bound."""
        return link_name(self.path / "driver")

    @cached_property
    def numa(self) -> int | None:
        """Its NUMA node; None if unknown."""
        return read_number(self.path / "numa_node")

    @cached_property
    def physical_function(self) -> str:
        """The address of its physical function; empty unless it is virtual."""
        return link_name(self.path / "physfn")

    def _hexadecimal(self, name: str) -> str:
        text = read_attribute(self.path / name).lower().removeprefix("0x")
        return text if re.fullmatch("[0-9a-f]{1,8}", text) else ""


def pci_functions(host: Host, *, vendor: str = "", class_code: str = "") -> Iterator[PciFunction]:
    """Return the node's PCI functions, sorted by address.

    Args:
        host: The node's file system.
        vendor: Only those of this vendor, such as "10de".
        class_code: Only those whose class begins with these digits, such as "03" for display controllers.
    """
    paths = [path for path in sorted_entries(host.path(_PCI)) if PCI_ADDRESS.fullmatch(path.name)]
    for path in sorted(paths, key=lambda path: (len(path.name), path.name)):
        function = PciFunction(path)
        if vendor in {"", function.vendor} and function.class_code.startswith(class_code):
            yield function


def process_name(host: Host, pid: int | str) -> str:
    """Return the name of a process; empty if there is no such process.

    A process chooses its own name, which need not be valid text.
    """
    try:
        return printable(read_text(host.path(f"/proc/{pid}/comm"), errors="backslashreplace").strip())
    except UnreadableError:
        return ""
