"""What a search for the hardware of a resource finds."""

from dataclasses import dataclass, field
from typing import NamedTuple

from plugins.generic.discovery.files import DeviceFile
from plugins.generic.discovery.sysfs import SysDevice


class GivenFile(NamedTuple):
    """A file, and how a container gets it."""

    file: DeviceFile
    container_path: str = ""
    """A template; empty for the path on the node."""
    permissions: str = "rw"
    mount: bool = False
    read_only: bool = False


class Found(NamedTuple):
    """One device of a resource."""

    key: str
    """An id of the hardware that does not depend on how the kernel numbers it."""
    files: tuple[GivenFile, ...] = ()
    device: SysDevice | None = None
    """The device in sysfs that has its NUMA node, serial number and so on."""
    uses: int = 1
    """How many containers can use it; multiplied by the count of the resource."""
    physical: str = ""
    """An id of the hardware, if its files do not identify it."""
    functions: tuple[str, ...] = ()
    """The PCI addresses, if it consists of several functions."""


@dataclass
class Search:
    """The hardware of a resource."""

    found: list[Found] = field(default_factory=list)
    excluded: dict[str, str] = field(default_factory=dict)
    """Why other hardware is excluded, by name."""
    missing: list[str] = field(default_factory=list)
    """Descriptions of the settings that match nothing."""
