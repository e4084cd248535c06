"""The health of all devices of a plugin, kept across restarts: one that is broken is still broken after one."""

import copy
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from hub.log import get_logger
from hub.plugin.contract import Device
from hub.plugin.health import HealthRecord, Policy
from hub.plugin.statefile import StateFile

PLUGIN = "plugin"
"""The source of what `Plugin.devices` says about a device."""


class HealthBook:
    """Health records by device: by a device's own id for what the plugin says, by its physical id for the rest.

    Args:
        path: Where the records are kept; None where nobody keeps them.
        policy: How a device comes back.
        changed: Called when a device's health may have changed.
        clock: Tells the Unix time.
    """

    def __init__(
        self, path: Path | None, policy: Policy, changed: Callable[[], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._policy = policy
        self._changed = changed
        self._clock = clock
        self._records = _read(path)
        self._file = StateFile(path, lambda: self._records)

    def record(self, key: str) -> HealthRecord:
        """The record of a device, to be looked at only."""
        return self._records.get(key) or HealthRecord()

    def failing(self, source: str) -> list[str]:
        """The devices that this source complains about."""
        return [key for key, record in self._records.items() if source in record.faults]

    def fault_of(self, device: Device) -> str:
        """Why a device cannot be used; empty when it can."""
        if not self._records:
            return ""
        known = [self._records.get(key) for key in dict.fromkeys((device.id, physical_id(device)))]
        return "; ".join(record.reason for record in known if record and record.reason)

    def hear(self, devices: Iterable[Device]) -> None:
        """Take in what the plugin says about its devices."""
        for device in devices:
            if not device.unhealthy:
                self.clear(device.id, PLUGIN)
                continue
            known = self.record(device.id).faults.get(PLUGIN)
            if known is None or known.reason != device.unhealthy:
                self.fail(device.id, PLUGIN, device.unhealthy)

    def fail(self, key: str, source: str, reason: str) -> None:
        """Something is wrong with a device."""
        self._change(key, lambda record, now: record.fail(source, reason, now))

    def clear(self, key: str, source: str) -> None:
        """This source has nothing to complain about any more."""
        if key in self._records and source in self._records[key].faults:
            self._change(key, lambda record, now: record.clear(source, now, self._policy))

    def try_again(self, key: str, awaited: str) -> None:
        """Somebody finds out whether the device works."""
        self._change(key, lambda record, now: record.try_again(awaited, now))

    def pass_time(self) -> None:
        """Finish the recoveries whose time has come."""
        for key in list(self._records):
            self._change(key, lambda record, now: record.pass_time(now, self._policy))

    def save(self) -> None:
        """Write the records now."""
        self._file.write()

    def _change(self, key: str, change: Callable[[HealthRecord, float], None]) -> None:
        before = self.record(key)
        after = copy.deepcopy(before)
        change(after, self._clock())
        if after == before:
            return
        self._records[key] = after
        if after == HealthRecord():
            del self._records[key]
        self._file.touch()
        self._changed()


def _read(path: Path | None) -> dict[str, HealthRecord]:
    """The records as the last process left them; a probe that it had begun goes on no more.

    What cannot be read is put aside: without it the plugin serves as if nothing had been wrong, and says so.
    """
    if path is None or not path.exists():
        return {}
    try:
        records = msgspec.json.decode(path.read_bytes(), type=dict[str, HealthRecord])
    except (OSError, msgspec.DecodeError) as error:
        aside = path.with_suffix(".unreadable")
        path.replace(aside)
        get_logger().error("health of earlier days lost", reason=str(error), kept=str(aside))
        return {}
    for record in records.values():
        record.give_up()
    return records


def physical_id(device: Device) -> str:
    """The physical device that a device is, or is a share of."""
    return device.physical or device.id
