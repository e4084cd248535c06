"""A resource: its hardware, and what a container gets for it."""

import re
from typing import Annotated

import msgspec

from hub import Settings, check_template
from plugins.generic.settings.selectors import (
    Count,
    Group,
    Pattern,
    PciSelector,
    Permissions,
    SysfsSelector,
    UsbSelector,
)
from plugins.generic.settings.templates import FACTS, IN_CONTAINER, OF_DEVICE, ON_NODE

Program = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=100)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]

MAX_RESOURCES = 1000
"""The maximum for one plugin, because each resource has a socket."""

MAX_RESET_SECONDS = 25
"""The resets of a container must end before the kubelet gives up."""


def _check_program(command: tuple[str, ...]) -> None:
    if command and not command[0].startswith("/"):
        raise ValueError(f'command is "{command[0]}", expected the absolute path of a program')


class MountSetting(Settings, frozen=True):
    """A file or directory that a container gets with each device."""

    host_path: str
    """Its path on the node, with placeholders."""
    container_path: str = ""
    """Its path in the container, with placeholders; the default is the same."""
    read_only: bool = True
    """Whether the mount is read-only."""

    def __post_init__(self) -> None:
        for path in (self.host_path, self.container_path):
            check_template(path, OF_DEVICE)
        if not self.host_path.startswith("/"):
            raise ValueError(f'host_path is "{self.host_path}", expected an absolute path')


class Health(Settings, frozen=True):
    """When a device that is present counts as healthy. Without these keys, it always does."""

    file: str = ""
    """A file on the node, with placeholders, whose content must match `content`."""
    content: str = ".*"
    """A regular expression for the whole content, without the white space around it."""
    command: tuple[str, ...] = ()
    """A program in the plugin's container and its arguments, with placeholders; its exit code must be 0."""
    interval: Seconds = 10
    """Seconds between checks."""
    timeout: Annotated[float, msgspec.Meta(gt=0, le=20)] = 5
    """Seconds that the command may take."""

    def __post_init__(self) -> None:
        for word in (self.file, *self.command):
            check_template(word, ON_NODE)
        if self.file and not self.file.startswith(("/", "{host_path}")):
            raise ValueError(f'file is "{self.file}", expected an absolute path')
        _check_program(self.command)
        try:
            re.compile(self.content)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f'content is "{self.content}", expected a regular expression: {error}') from None

    @property
    def checks(self) -> bool:
        """Whether there is something to check."""
        return bool(self.file or self.command)


class Reset(Settings, frozen=True):
    """What makes a device ready for its next container."""

    command: Program
    """A program in the plugin's container and its arguments, with placeholders; its exit code must be 0."""
    timeout: Annotated[float, msgspec.Meta(gt=0, le=MAX_RESET_SECONDS)] = 10
    """Seconds that it may take."""

    def __post_init__(self) -> None:
        for word in self.command:
            check_template(word, ON_NODE)
        _check_program(self.command)


class Resource(Settings, frozen=True):
    """One resource. At least one of `files`, `groups`, `usb`, `pci` and `sysfs` says what its devices are."""

    name: str
    """Its name, such as "example.com/serial"."""
    files: tuple[Pattern, ...] = ()
    """Device files; each is a device. `*`, `?` and `[...]` match within one directory. A directory, such as /dev/snd,
    is one device with all the files in it."""
    groups: tuple[Group, ...] = ()
    """Files that a container gets together."""
    usb: tuple[UsbSelector, ...] = ()
    """USB devices; each one that a selector matches is a device."""
    pci: tuple[PciSelector, ...] = ()
    """PCI functions; each one that a selector matches is a device."""
    sysfs: tuple[SysfsSelector, ...] = ()
    """Other devices in sysfs; each one that a selector matches is a device."""
    vfio: bool = False
    """Whether the devices are IOMMU groups, whose PCI functions are all bound to vfio-pci; `pci` selects them."""
    nodes: tuple[str, ...] = ()
    """Which device files a container gets for a device that `usb`, `pci` or `sysfs` selects, such as "ttyUSB*": names
    below /dev. The default is its own file, or if it has none, the files of all its parts."""
    id: str = ""
    """The id of a device, with placeholders. The default is one that does not change when numbers do: the name of a
    link, the USB port, the PCI address, or else the name of the file. Without {share}, a share is "ID::SHARE"."""
    count: Count = 1
    """How many containers can use each device at the same time. A container that gets several shares of a device gets
    its files once."""
    container_path: str = ""
    """The path of its files in the container, with placeholders; the default is the path on the node. If it ends with
    /, it is a directory, and the files keep their names."""
    permissions: Permissions = "rw"
    """What the container may do with the files: r(ead), w(rite) and m(knod)."""
    env: dict[str, str] = {}
    """Environment variables for the container, with placeholders. Values of several devices are joined by commas."""
    mounts: tuple[MountSetting, ...] = ()
    """Files and directories that the container gets, apart from those of the devices."""
    annotations: dict[str, str] = {}
    """Annotations for the container runtime, with placeholders."""
    cdi: tuple[str, ...] = ()
    """Names of CDI devices that the container gets, with placeholders, such as "example.com/modem={serial}"."""
    numa: bool = True
    """Whether the kubelet is informed of the NUMA nodes."""
    health: Health = Health()
    """When a device that is present counts as healthy."""
    reset: Reset | None = None
    """What makes a device ready for its next container."""

    def __post_init__(self) -> None:
        if not (self.files or self.groups or self.usb or self.pci or self.sysfs):
            raise ValueError(f"{self.name} has no devices, expected files, groups, usb, pci or sysfs")
        if self.vfio and not self.pci:
            raise ValueError(f"{self.name}: vfio is true, expected pci to select the functions")
        for template in (*self.env.values(), *self.annotations.values(), *self.cdi):
            check_template(template, IN_CONTAINER)
        check_template(self.container_path, OF_DEVICE)
        check_template(self.id, (*FACTS, SHARE.strip("{}")))
        shared = max([self.count, *(group.count for group in self.groups)])
        if self.reset and shared > 1:
            raise ValueError(f"{self.name}: reset is set and count is {shared}, expected 1: others may use the device")

    @property
    def patterns(self) -> list[str]:
        """The patterns of files."""
        return [*self.files, *(file.path for group in self.groups for file in group.files)]

    @property
    def uses_udev(self) -> bool:
        """Whether its devices depend on what udev has recorded."""
        return any(selector.properties for selector in self.sysfs)


SHARE = "{share}"
"""The placeholder for the number of a share; an id that contains it needs no other number."""
