"""Settings that say which hardware a resource consists of."""

import re
from enum import StrEnum
from typing import Annotated

import msgspec

from hub import Settings, check_template
from plugins.generic.settings.templates import OF_DEVICE

Pattern = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(/(?!\.\.?(/|$))[^/]+)+$",
        extra={"expected": "an absolute path without . and .., such as /dev/fuse"},
        max_length=4096,
    ),
]
"""An absolute path, in which `*`, `?` and `[...]` match within one directory."""

Hex = Annotated[str, msgspec.Meta(pattern="^(0x)?[0-9a-fA-F]{4}$", extra={"expected": "four hexadecimal digits"})]
Class = Annotated[
    str, msgspec.Meta(pattern="^(0x)?[0-9a-fA-F]{2,6}$", extra={"expected": "two to six hexadecimal digits"})
]
Permissions = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?!.*(.).*\1)[rwm]{1,3}$",
        extra={"expected": "one or more of the letters r(ead), w(rite) and m(knod)"},
        max_length=3,
    ),
]
Attribute = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?!\.\.?(/|$))[^/]+(/(?!\.\.?(/|$))[^/]+)*$",
        extra={"expected": "a path below the device in sysfs"},
        max_length=255,
    ),
]
Count = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Pairing(StrEnum):
    """Which files of a group belong to the same device."""

    MATCH = "match"
    """Those whose names have the same text where the first wildcard is, such as controlC1 and pcmC1D0c."""
    HARDWARE = "hardware"
    """Those of the same USB device or PCI function."""
    ORDER = "order"
    """The first match of each path, then the second and so on, in numeric order, as in the generic-device-plugin."""


class GroupFile(Settings, frozen=True):
    """A file of each device of a group."""

    path: Pattern
    """Its path on the node; `*`, `?` and `[...]` match within one directory."""
    container_path: str = ""
    """Its path in the container, with placeholders; the default is the path on the node. If it ends with /, it is a
    directory, and the file keeps its name."""
    permissions: Permissions = "rw"
    """What the container may do with it: r(ead), w(rite) and m(knod)."""
    optional: bool = False
    """Whether a device is served even if this file is missing."""
    mount: bool = False
    """Whether it is mounted like a directory or an ordinary file, rather than given as a device file."""
    read_only: bool = True
    """Whether the mount is read-only."""
    limit: Limit = 1
    """How many devices may have the same file, with pairing by order."""

    def __post_init__(self) -> None:
        check_template(self.container_path, OF_DEVICE)


class UsbSelector(Settings, frozen=True):
    """A selector of USB devices. All keys that are set must match."""

    vendor: Hex | None = None
    """The vendor, such as "1a86" (the first number that `lsusb` prints)."""
    product: Hex | None = None
    """The product, such as "7523" (the second number)."""
    serial: str = ""
    """The serial number."""
    port: Annotated[
        str, msgspec.Meta(pattern=r"^([0-9]+-[0-9]+(\.[0-9]+)*)?$", extra={"expected": "a port such as 1-1.4"})
    ] = ""
    """Where it is plugged in, such as "1-1.4"."""

    def __post_init__(self) -> None:
        if not _has_keys(self):
            raise ValueError("it is empty, expected vendor, product, serial or port")


class PciSelector(Settings, frozen=True):
    """A selector of PCI functions. All keys that are set must match."""

    vendor: Hex | None = None
    """The vendor, such as "10ee"."""
    device: Hex | None = None
    """The device, such as "5001"."""
    class_: Class | None = msgspec.field(default=None, name="class")
    """The class, or a prefix of it: "12" for all accelerators, "1200" for processing accelerators."""
    address: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])?$",
            extra={"expected": "a PCI address such as 0000:3b:00.0"},
        ),
    ] = ""
    """The address, such as "0000:3b:00.0"."""
    driver: str = ""
    """The name of the driver."""

    def __post_init__(self) -> None:
        if not _has_keys(self):
            raise ValueError("it is empty, expected vendor, device, class, address or driver")


class SysfsSelector(Settings, frozen=True):
    """A selector of devices in sysfs, with the keys of a udev rule. All keys that are set must match.

    Strings may contain the wildcards `*`, `?` and `[...]`.
    """

    subsystem: str = ""
    """The name of the class or bus, such as "tty" (SUBSYSTEM of a rule)."""
    kernel: str = ""
    """The name of the device, such as "nvme0n*" (KERNEL)."""
    driver: str = ""
    """The name of the driver of the device or of one of its parent devices (DRIVERS)."""
    attributes: dict[Attribute, str] = {}
    """Attributes of the device, such as `queue/rotational: "0"` (ATTR)."""
    parents: dict[Attribute, str] = {}
    """Attributes that the device or one of its parent devices must have, all on the same one (ATTRS)."""
    properties: dict[str, str] = {}
    """What the kernel announces about the device, such as `DEVTYPE: disk`, or udev has added to that, such as
    `ID_SERIAL_SHORT: A50285BI` (ENV). What udev adds is known only if /run/udev is there: a pod must mount it."""

    def __post_init__(self) -> None:
        if not _has_keys(self):
            raise ValueError("it is empty, expected subsystem, kernel, driver, attributes, parents or properties")
        if "/" in self.subsystem or self.subsystem in {".", ".."}:
            raise ValueError(f'subsystem is "{self.subsystem}", expected the name of a class or bus, such as "tty"')


class Group(Settings, frozen=True):
    """Files, or USB devices, that a container gets together."""

    files: tuple[GroupFile, ...] = ()
    """The files of a device."""
    pairing: Pairing = Pairing.MATCH
    """Which files belong to the same device, if there are several."""
    usb: tuple[UsbSelector, ...] = ()
    """USB devices: all selected USB devices together are one device."""
    count: Count = 1
    """How many containers can use each device at the same time."""

    def __post_init__(self) -> None:
        if bool(self.files) == bool(self.usb):
            raise ValueError("expected either files or usb")
        for file in self.files:
            if file.limit > 1 and self.pairing is not Pairing.ORDER:
                raise ValueError(f"limit of {file.path} is {file.limit}, which has an effect only with pairing: order")


def _has_keys(selector: Settings) -> bool:
    return any(getattr(selector, name) for name in selector.__struct_fields__)


def plain_hex(number: str) -> str:
    """Return a number as sysfs writes it, without 0x."""
    return re.sub("^0x", "", number).lower()
