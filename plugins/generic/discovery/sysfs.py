"""Devices as sysfs shows them: where they are, what they are, and which device files they have."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from hub import (
    PCI_ADDRESS,
    Host,
    UnreadableError,
    link_name,
    natural_order,
    read_attribute,
    read_number,
    read_text,
    sorted_entries,
)
from plugins.generic.discovery.reading import directories, target

USB_FILES = "/dev/bus/usb"
"""The directory with the device files of whole USB devices."""

_MAX_BELOW = 2000
"""How many directories below a device to search for its device files: a function with a few disks has hundreds."""


class SysDevice:
    """A device in sysfs. Everything is read only once, and then kept.

    Args:
        path: Its directory as this process finds it, without links.
        known: The devices that were read before, by path: many devices are part of the same one.
    """

    def __init__(self, path: Path, known: dict[Path, "SysDevice"] | None = None) -> None:
        self.path = path
        self.name = path.name
        self._known = {} if known is None else known
        self._texts: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"SysDevice({str(self.path)!r})"

    @cached_property
    def subsystem(self) -> str:
        """The name of its bus or class, such as "usb" or "tty"; empty if it has none."""
        return link_name(self.path / "subsystem")

    @cached_property
    def driver(self) -> str:
        """The name of its driver; empty if none is bound."""
        return link_name(self.path / "driver")

    @cached_property
    def properties(self) -> Mapping[str, str]:
        """What the kernel announces about the device, such as DEVNAME and DEVTYPE."""
        try:
            lines = read_text(self.path / "uevent", errors="replace").splitlines()
        except UnreadableError:
            return {}
        return {name: value for name, found, value in (line.partition("=") for line in lines) if found}

    @cached_property
    def is_usb(self) -> bool:
        """Whether it is a USB device, rather than one of its interfaces."""
        return self.subsystem == "usb" and (self.path / "idVendor").exists()

    @cached_property
    def is_pci(self) -> bool:
        """Whether it is a PCI function."""
        return bool(PCI_ADDRESS.fullmatch(self.name)) and self.subsystem == "pci"

    @property
    def file(self) -> str:
        """The path of its device file; empty if it has none."""
        name = self.properties.get("DEVNAME", "").removeprefix("/dev/")
        return f"/dev/{name}" if name and ".." not in name.split("/") else ""

    def text(self, attribute: str) -> str:
        """Read an attribute; empty if it does not exist."""
        if attribute not in self._texts:
            self._texts[attribute] = read_attribute(self.path / attribute)
        return self._texts[attribute]

    def other(self, path: Path) -> "SysDevice":
        """Return the device at another path."""
        if path not in self._known:
            self._known[path] = SysDevice(path, self._known)
        return self._known[path]

    @cached_property
    def lineage(self) -> Sequence["SysDevice"]:
        """The device and its parent devices, the nearest first."""
        own = [self] if _is_device(self.path) else []
        for path in self.path.parents:
            if path.name == "devices":
                break
            if _is_device(path):
                return [*own, *self.other(path).lineage]
        return own

    @cached_property
    def numa(self) -> int | None:
        """The NUMA node of the device itself; None if sysfs shows none."""
        return read_number(self.path / "numa_node")

    @cached_property
    def parts(self) -> Sequence["SysDevice"]:
        """The device and its parts with a device file, in natural order, but no other USB devices or PCI functions."""
        found, pending, seen = [], [self.path], 0
        while pending and seen < _MAX_BELOW:
            seen += 1
            path = pending.pop()
            if _is_device(path):
                device = self.other(path)
                if path != self.path and (device.is_usb or device.is_pci):
                    continue
                if device.file:
                    found.append(device)
            pending += directories(path)
        return sorted(found, key=lambda device: natural_order(device.name))

    @property
    def device_files(self) -> list[str]:
        """The paths of the device files of its parts."""
        return sorted((part.file for part in self.parts), key=natural_order)


def _is_device(directory: Path) -> bool:
    """Return whether a directory belongs to a device; others group a device's parts by class, such as "tty"."""
    return (directory / "uevent").exists()


class Sysfs:
    """The node's sysfs during one scan.

    Args:
        host: The node's file system.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._root = host.path("/sys")
        self._known: dict[Path, SysDevice] = {}

    def bus(self, name: str) -> Iterator[SysDevice]:
        """Return the devices on a bus."""
        return self._devices(self._root / "bus" / name / "devices")

    def subsystem(self, name: str) -> Iterator[SysDevice]:
        """Return the devices of a class or on a bus; of all classes and buses if the name is empty."""
        if name:
            yield from self._devices(self._root / "class" / name)
            yield from self.bus(name)
            return
        for directory in sorted_entries(self._root / "class"):
            yield from self._devices(directory)
        for directory in sorted_entries(self._root / "bus"):
            yield from self._devices(directory / "devices")

    def of_file(self, path: str) -> SysDevice | None:
        """Return the device that a device file belongs to; None if sysfs does not show it."""
        if path.startswith(f"{USB_FILES}/"):
            return self._usb_devices.get(path)
        for link in self._by_name.get(path.rpartition("/")[2], ()):
            found = target(link)
            if found and self._at(found).file == path:
                return self._at(found)
        return None if self._host.path(path).is_dir() else self._by_file.get(path)

    def _at(self, path: Path) -> SysDevice:
        return self._known.setdefault(path, SysDevice(path, self._known))

    @cached_property
    def _by_file(self) -> Mapping[str, SysDevice]:
        """The devices of all classes by their file, such as /dev/dvb/adapter0/frontend0 of dvb0.frontend0.

        Reading them takes a while, so they are read only if a file is not found by name.
        """
        classes = (self._devices(directory) for directory in sorted_entries(self._root / "class"))
        return {device.file: device for devices in classes for device in devices if device.file}

    @cached_property
    def _by_name(self) -> Mapping[str, list[Path]]:
        """Links to the devices of all classes by name, which is usually the name of the file."""
        found: dict[str, list[Path]] = {}
        for directory in sorted_entries(self._root / "class"):
            for link in sorted_entries(directory):
                found.setdefault(link.name.rpartition("!")[2], []).append(link)
        return found

    @cached_property
    def _usb_devices(self) -> Mapping[str, SysDevice]:
        """The whole USB devices by file."""
        return {usb_file(device): device for device in self.bus("usb") if device.is_usb}

    def _devices(self, directory: Path) -> Iterator[SysDevice]:
        paths = (target(link) for link in sorted_entries(directory))
        return (self._at(path) for path in paths if path and path.is_dir())


def numa_node(device: SysDevice | None) -> int | None:
    """Return the NUMA node of a device, or of its nearest parent device that has one; None if unknown."""
    return next((each.numa for each in device.lineage if each.numa is not None), None) if device else None


def hardware(device: SysDevice | None) -> SysDevice | None:
    """Return the USB device or PCI function that a device is, or is part of; None if it is of neither kind."""
    return next((each for each in device.lineage if each.is_usb or each.is_pci), None) if device else None


def usb_file(device: SysDevice) -> str:
    """Return the device file of a whole USB device; empty if it has no number."""
    if device.file:
        return device.file
    bus, address = read_number(device.path / "busnum"), read_number(device.path / "devnum")
    return f"{USB_FILES}/{bus:03}/{address:03}" if bus is not None and address is not None else ""


def facts(device: SysDevice | None) -> dict[str, str]:
    """Return what identifies the hardware of a device: each fact from the nearest device that has it."""
    found: dict[str, str] = {}
    for each in device.lineage if device else ():
        known = {"serial": each.text("serial")}
        if each.is_usb:
            known |= {"port": each.name, "vendor": each.text("idVendor"), "product": each.text("idProduct")}
        elif each.is_pci:
            ids = {"vendor": "vendor", "product": "device"}
            known |= {"pci": each.name, **{fact: each.text(name).removeprefix("0x") for fact, name in ids.items()}}
        found = {name: _safe(value) for name, value in known.items() if value} | found
    return found


def _safe(fact: str) -> str:
    """Make a fact safe for use in a path or as an argument of a command: a USB device's vendor chooses the text."""
    return re.sub("^[-.]+", "_", re.sub("[^A-Za-z0-9#+.:=@_-]", "_", fact))
