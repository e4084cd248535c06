"""Which changes become events: each change in a device's health, once, across restarts of the agent."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from hub.base.wording import first_of
from hub.model.node import NodeStatus
from hub.model.plugin import NO_FAULT_SOURCES, DeviceStatus

NORMAL = "Normal"
WARNING = "Warning"

DEVICE_UNHEALTHY = "DeviceUnhealthy"
DEVICE_HEALTHY = "DeviceHealthy"

_NAMED = 4

MAX_ABSENT = 1 << 14
"""Maximum number of unhealthy devices that are remembered while they are absent, such as all those of a plugin that is
restarting. A faulty plugin may give its devices new names each time."""


class Pod(NamedTuple):
    """A pod that uses a device."""

    namespace: str
    name: str


class Occurrence(NamedTuple):
    """Something that happened to a device or the node, and that becomes an event."""

    kind: str
    """Normal or Warning."""
    reason: str
    note: str
    about: str
    """The device, as the note names it."""
    time: float
    """Unix time."""
    pods: tuple[Pod, ...] = ()
    """The pods that use it."""


class Announced(msgspec.Struct):
    """Which health changes have already been reported as events; kept in a file, for the next agent on the node."""

    unhealthy: dict[str, str] = {}
    """The reasons of the devices that are unhealthy, by plugin and device."""


class _Device(NamedTuple):
    """A physical device with all its shares."""

    resources: tuple[str, ...]
    broken: str
    """Why it is unhealthy; empty if it is not."""
    is_undecided: bool
    """Whether it is neither healthy nor unhealthy: it is recovering or being tested."""
    pods: tuple[Pod, ...]


class Occurrences:
    """Compares the status with what has already been reported as events.

    Args:
        announced: Which health changes have already been reported as events.
    """

    def __init__(self, announced: Announced) -> None:
        self.announced = announced

    def update(self, status: NodeStatus, now: float) -> list[Occurrence]:
        """Return what has happened since the last call, and count it as reported.

        Args:
            status: The status.
            now: The Unix time.
        """
        known, found = self.announced.unhealthy, []
        plugins = {plugin.name for plugin in status.plugins}
        for key in [key for key in known if key.partition(" ")[0] not in plugins]:
            del known[key]
        devices = _devices(status)
        for key in [key for key in known if key not in devices][:-MAX_ABSENT]:
            del known[key]
        for key, device in devices.items():
            name = key.partition(" ")[2]
            of = f"{first_of(device.resources, _NAMED)} device {name.removeprefix(f'{device.resources[0]} ')}"
            if device.broken and key not in known:
                known[key] = device.broken
                note = f"{of} is unhealthy: {device.broken}"
                found.append(Occurrence(WARNING, DEVICE_UNHEALTHY, note, name, now, device.pods))
            elif key in known and not device.broken and not device.is_undecided:
                note = f"{of} is healthy again (was: {known.pop(key)})"
                found.append(Occurrence(NORMAL, DEVICE_HEALTHY, note, name, now, device.pods))
        return found


def _devices(status: NodeStatus) -> dict[str, _Device]:
    """Return the physical devices, by plugin and the plugin's name for the device."""
    shares: dict[str, list[tuple[str, DeviceStatus]]] = {}
    for plugin in status.plugins:
        for resource in plugin.report.resources:
            for device in resource.devices:
                key = f"{plugin.name} {device.physical or f'{resource.name} {device.id}'}"
                shares.setdefault(key, []).append((resource.name, device))
    return {key: _device(each) for key, each in shares.items()}


def _device(shares: list[tuple[str, DeviceStatus]]) -> _Device:
    faulty = [device for _, device in shares if not device.healthy and device.source not in NO_FAULT_SOURCES]
    unhealthy = [device.reason for device in faulty if device.health == "unhealthy"]
    return _Device(
        tuple(dict.fromkeys(name for name, _ in shares)),
        next(iter(unhealthy), ""),
        bool(faulty) and not unhealthy,
        tuple(dict.fromkeys(_pods(device for _, device in shares))),
    )


def _pods(devices: Iterator[DeviceStatus]) -> Iterator[Pod]:
    for device in devices:
        namespace, _, rest = device.holder.partition("/")
        if name := rest.partition("/")[0]:
            yield Pod(namespace, name)
