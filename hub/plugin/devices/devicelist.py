"""The devices of one resource: as a scan found them, and as they are published, with their health."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import msgspec

from hub.api.device import Device
from hub.base.wording import shortened
from hub.plugin.devices.validation import validate_device
from hub.plugin.health.store import DeviceHealth

MAX_PROBLEMS = 16
"""Maximum number of problems that are listed individually; a mistake in many devices is the same in all of them."""


class ScannedDevices(msgspec.Struct, frozen=True):
    """The valid devices of one resource, as the plugin's scan returned them.

    What is advertised to the kubelet may differ: see `DeviceList`.
    """

    devices: Mapping[str, Device] = {}
    """Keyed by id, in the plugin's order."""
    reason: str = ""
    """Why there is no device, or the devices are unknown."""
    problems: tuple[str, ...] = ()
    """What was left out because no kubelet would accept it."""
    warnings: tuple[str, ...] = ()
    """What is wrong, or will go wrong, with devices that are advertised."""

    @classmethod
    def of(cls, offered: Iterable[Device], where: str = "") -> Self:
        """Validate the devices that a plugin offers, and keep the valid ones.

        Args:
            offered: The devices.
            where: The location of the code that offers them, which the problems name.
        """
        devices: dict[str, Device] = {}
        problems: list[str] = []
        for device in offered:
            if problem := validate_device(device, devices):
                problems.append(f"{problem}; see devices() at {where}" if where else problem)
            else:
                devices[device.id] = device
        return cls(devices, problems=tuple(shortened(problems, MAX_PROBLEMS, "device", "with a similar problem")))

    def all_unhealthy(self, reason: str) -> Self:
        """Return the same devices, with this reason for each that is healthy."""
        devices = {
            name: device if device.unhealthy else msgspec.structs.replace(device, unhealthy=reason)
            for name, device in self.devices.items()
        }
        return msgspec.structs.replace(self, devices=devices, reason=reason)

    def with_warnings(self, warnings: Sequence[str]) -> Self:
        """Return the same devices, with warnings about what is wrong, or will go wrong, with them."""
        return msgspec.structs.replace(self, warnings=tuple(shortened(warnings, MAX_PROBLEMS, "warning")))


class DeviceList(ScannedDevices, frozen=True):
    """What one resource advertises at one moment. Everything that reads the health of a device reads it here."""

    health: Mapping[str, DeviceHealth] = {}
    """The health of each device, by id."""
    departing: Mapping[str, Device] = {}
    """Devices, by id, that the plugin no longer returns; only the kubelet sees them, as unhealthy."""
    version: int = 0
    """Changes with each list that looks different to the kubelet."""

    def is_healthy(self, name: str) -> bool:
        """Return whether the kubelet may allocate a device."""
        return not self.health[name].reason

    def same_for_kubelet(self, other: "DeviceList") -> bool:
        """Return whether a kubelet would see the same list. The order of the devices does not matter."""
        return (
            self.devices.keys() == other.devices.keys()
            and self.departing.keys() == other.departing.keys()
            and all(
                self.is_healthy(name) == other.is_healthy(name)
                and tuple(device.numa) == tuple(other.devices[name].numa)
                for name, device in self.devices.items()
            )
        )
