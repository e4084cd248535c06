"""Read PCI functions from sysfs. Nothing here depends on the vendor."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from hub import Host, UnreadableError, read_text

DIRECTORY = "/sys/bus/pci/devices"

_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_ID = re.compile("0x[0-9a-f]{4}")
_NUMBER = re.compile("-?[0-9]{1,18}")
"""One that fits into 64 bits; `isdigit` accepts other digits, which `int` does not."""
_NAME = re.compile("[A-Za-z0-9_.-]{1,60}")


class PciFunction(msgspec.Struct, frozen=True):
    """A PCI function (Documentation/ABI/testing/sysfs-bus-pci of the kernel)."""

    address: str
    """Its PCI address, such as "0000:03:00.0"."""
    device: str
    """Its device id, such as "0x56c0"."""
    driver: str
    """Empty if no driver is bound."""
    numa: int | None
    """Its NUMA node; None if unknown."""
    pf: str
    """The PCI address of its physical function; empty unless it is virtual."""
    vfs: int
    """The number of its virtual functions."""
    path: Path
    """Its directory, as this process sees it."""


class Found(NamedTuple):
    """What sysfs shows."""

    functions: list[PciFunction]
    """In the order of their addresses."""
    unreadable: Mapping[str, str]
    """Why others cannot be used, by address: what the kernel shows about them makes no sense."""


def read_functions(host: Host, vendor: str, kind: str) -> Found:
    """Read the functions of a vendor. One that is removed during the read is left out.

    Args:
        host: The node's file system.
        vendor: The vendor as sysfs writes it, such as "0x8086".
        kind: The beginning of the class as sysfs writes it, such as "0x03" for all display controllers.
    """
    functions, unreadable = [], {}
    for path in sorted(entries(host.path(DIRECTORY)), key=lambda path: address_order(path.name)):
        if not _ADDRESS.fullmatch(path.name) or not text(path / "class").startswith(kind):
            continue
        if text(path / "vendor") != vendor:
            continue
        try:
            functions.append(_read_function(path))
        except ValueError as error:
            if path.exists():
                unreadable[path.name] = str(error)
    return Found(functions, unreadable)


def entries(directory: Path) -> Iterator[Path]:
    """Return the entries of a directory in natural order; none if it does not exist or is removed in the meantime."""
    try:
        names = [path.name for path in directory.iterdir()]
    except OSError:
        return
    for name in sorted(names, key=natural):
        yield directory / name


def address_order(address: str) -> tuple[int, str]:
    """Return a key by which 0000:18:00.0 comes before 0000:4d:00.0, and both before 10000:00:00.0."""
    return len(address), address


def natural(name: str) -> list[str | int]:
    """Return a key by which card2 comes before card10."""
    return [int(part) if number % 2 else part for number, part in enumerate(re.split("([0-9]+)", name))]


def text(path: Path) -> str:
    """Read a file; empty if that fails (reading some files is an error)."""
    try:
        return read_text(path, errors="surrogateescape").strip()
    except UnreadableError:
        return ""


def _read_function(path: Path) -> PciFunction:
    """Read a function.

    Raises:
        ValueError: what the kernel shows makes no sense.
    """
    device, numa = text(path / "device"), _number(path / "numa_node")
    if not _ID.fullmatch(device):
        raise _odd(path / "device", device, "four hexadecimal digits")
    return PciFunction(
        address=path.name,
        device=device,
        driver=_target(path / "driver", _NAME),
        numa=None if numa is None or numa < 0 else numa,
        pf=_target(path / "physfn", _ADDRESS),
        vfs=_number(path / "sriov_numvfs") or 0,
        path=path,
    )


def _number(path: Path) -> int | None:
    """Read a number; None if there is no file, or it cannot be read.

    Raises:
        ValueError: it is not a number.
    """
    found = text(path)
    if not found:
        return None
    if not _NUMBER.fullmatch(found):
        raise _odd(path, found, "a number")
    return int(found)


def _target(path: Path, form: re.Pattern[str]) -> str:
    """Return the name of what a link leads to; empty if there is no link.

    Raises:
        ValueError: it is not a name of this form.
    """
    try:
        name = path.readlink().name
    except OSError:
        return ""
    if not form.fullmatch(name):
        raise _odd(path, name, "a link to something with a valid name")
    return name


def _odd(path: Path, found: str, expected: str) -> ValueError:
    return ValueError(f"{path.name} is {found!r:.40}, expected {expected}")
