"""IOMMU groups: PCI functions that a container can only get together, through vfio-pci."""

from collections.abc import Sequence
from typing import NamedTuple

from hub import sorted_entries
from plugins.generic.discovery.reading import target
from plugins.generic.discovery.sysfs import SysDevice

DRIVER = "vfio-pci"

CONTROL = "/dev/vfio/vfio"
"""The file that each user of VFIO opens in addition to the file of the group."""

_BRIDGE = "0x06"
"""The class of bridges, which need no driver: the kernel does not count them."""


class VfioGroup(NamedTuple):
    """An IOMMU group."""

    number: str
    file: str
    functions: Sequence[SysDevice]
    """All functions except bridges, sorted by address."""

    @property
    def problem(self) -> str:
        """Why no container can get the group; empty if one can."""
        others = [f"{each.name} ({each.driver or 'none'})" for each in self.functions if each.driver != DRIVER]
        drivers = ", ".join(others)
        return f"all functions of IOMMU group {self.number} need the driver {DRIVER}: {drivers}" if others else ""


def group_of(function: SysDevice) -> VfioGroup | None:
    """Return the IOMMU group of a function; None if it has none, because the IOMMU is off."""
    directory = target(function.path / "iommu_group")
    if directory is None:
        return None
    noiommu = SysDevice(directory).text("name") == "vfio-noiommu"
    members = (target(entry) for entry in sorted_entries(directory / "devices"))
    functions = [SysDevice(path) for path in members if path]
    return VfioGroup(
        directory.name,
        f"/dev/vfio/{'noiommu-' if noiommu else ''}{directory.name}",
        [each for each in functions if not each.text("class").startswith(_BRIDGE)],
    )
