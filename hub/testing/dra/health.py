"""The health of devices, as drivers report it to a kubelet (kubernetes, pkg/kubelet/cm/dra, healthinfo.go)."""

import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from hub.base.jsonfile import replace_bytes
from hub.kubelet.wire import drahealth_pb2 as wire

DEFAULT_TIMEOUT = 30.0
"""Seconds after which a device counts as Unknown, if its driver specifies no timeout."""

_MAX_CHARACTERS = 1024
_NAMES = {wire.HEALTHY: "Healthy", wire.UNHEALTHY: "Unhealthy"}
UNKNOWN = "Unknown"


class ReportedHealth(msgspec.Struct):
    """What a driver last reported about a device."""

    health: str
    message: str
    timeout: float
    time: float
    """When the kubelet received it, in seconds since 1970; the driver's own time is ignored."""

    def current(self) -> "ReportedHealth":
        """Return this health, or Unknown if it is too old."""
        if time.time() - self.time > self.timeout:
            return ReportedHealth(UNKNOWN, "", self.timeout, self.time)
        return self


class HealthCache:
    """The health of all drivers' devices, kept in a file.

    All instances of a driver write the same entries, and the end of the stream of any of them removes all.

    Args:
        path: The file.
        removes: Whether devices that time out are removed, as since 1.37.
    """

    def __init__(self, path: Path, *, removes: bool) -> None:
        self._path = path
        self._removes = removes
        self._drivers: dict[str, dict[str, ReportedHealth]] = {}
        try:
            self._drivers = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, ReportedHealth]])
        except (FileNotFoundError, msgspec.DecodeError):
            # A kubelet also continues without the file.
            self._drivers = {}

    def get(self, driver: str, pool: str, device: str) -> ReportedHealth:
        """Return the health of a device now."""
        found = self._drivers.get(driver, {}).get(f"{pool}/{device}")
        return found.current() if found else ReportedHealth(UNKNOWN, "", DEFAULT_TIMEOUT, 0)

    def update(self, driver: str, devices: Iterable[wire.DeviceHealth]) -> set[tuple[str, str]]:
        """Store a driver's list, and return the pools and names of the devices that have changed."""
        known = self._drivers.setdefault(driver, {})
        reported = {f"{each.device.pool_name}/{each.device.device_name}": _read(each) for each in devices}
        changed = {key for key, new in reported.items() if key not in known or _differs(known[key], new)}
        known.update(reported)
        removed = False
        for key in [key for key in known if key not in reported]:
            if (current := known[key].current()) is known[key]:
                continue
            if known[key].health != UNKNOWN:
                changed.add(key)
            known[key] = current
            if self._removes:
                del known[key]
                removed = True
        if changed or removed:
            self._save()
        return {(pool, device) for pool, _, device in (key.rpartition("/") for key in changed)}

    def clear(self, driver: str) -> None:
        """Remove everything that is known about a driver's devices."""
        self._drivers.pop(driver, None)
        self._save()

    def _save(self) -> None:
        replace_bytes(self._path, msgspec.json.encode(self._drivers), mode=0o600)


def _read(device: wire.DeviceHealth) -> ReportedHealth:
    timeout = device.health_check_timeout_seconds
    message = device.message
    if len(message) > _MAX_CHARACTERS:
        message = f"{message[: _MAX_CHARACTERS - 3]}..."
    seconds = float(timeout) if timeout > 0 else DEFAULT_TIMEOUT
    return ReportedHealth(_NAMES.get(device.health, UNKNOWN), message, seconds, time.time())


def _differs(one: ReportedHealth, other: ReportedHealth) -> bool:
    return (one.health, one.message, one.timeout) != (other.health, other.message, other.timeout)
