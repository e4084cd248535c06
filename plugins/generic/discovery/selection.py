"""Compare devices in sysfs with what the settings require."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from hub import Host
from plugins.generic.discovery.sysfs import SysDevice
from plugins.generic.discovery.udev import udev_properties

ANY = "*"


class Criteria(NamedTuple):
    """The criteria for a device in sysfs; strings may contain wildcards, and empty ones are ignored."""

    kernel: str = ""
    driver: str = ""
    attributes: Mapping[str, str] = {}
    parents: Mapping[str, str] = {}
    """Attributes that the device or one of its parent devices has, all on the same device."""
    properties: Mapping[str, str] = {}

    def matches(self, host: Host, device: SysDevice) -> bool:
        """Return whether a device meets the criteria."""
        return (
            fnmatchcase(device.name, self.kernel or ANY)
            and _has(device, self.attributes)
            and self._has_parent(device)
            and self._has_properties(host, device)
        )

    def _has_properties(self, host: Host, device: SysDevice) -> bool:
        if not self.properties:
            return True
        known = udev_properties(host, device)
        return all(fnmatchcase(known.get(name, ""), value) for name, value in self.properties.items())

    def _has_parent(self, device: SysDevice) -> bool:
        """Return whether the device or one of its parent devices has the driver, and one of them has the attributes."""
        lineage = list(device.lineage) if self.driver or self.parents else [device]
        return any(fnmatchcase(each.driver, self.driver or ANY) for each in lineage) and any(
            _has(each, self.parents) for each in lineage
        )


def _has(device: SysDevice, attributes: Mapping[str, str]) -> bool:
    return all(
        (device.path / name).is_file() and fnmatchcase(device.text(name), value) for name, value in attributes.items()
    )
