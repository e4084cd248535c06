"""The health of all devices of a plugin, kept across restarts: one that is broken is still broken after one."""

import copy
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from hub.api.device import Device
from hub.api.health import RecoveryPolicy
from hub.base.log import get_logger
from hub.base.processid import ProcessId
from hub.base.statusfile import StatusFile
from hub.plugin.health.keys import physical_key, share_key
from hub.plugin.health.record import ADMIN_RESET, BROKEN, PLUGIN, Fault, Health, HealthRecord


class DeviceHealth(NamedTuple):
    """What is known of the health of one device."""

    health: Health = Health.HEALTHY
    reason: str = ""
    """Why it cannot be used; empty when it can."""
    since: float = 0
    """Unix time; 0 when it is healthy."""
    source: str = ""
    """Who says so, or said so first."""


class HealthStore:
    """Health records: by `share_key` for what the plugin says of a device, by `physical_key` for the rest.

    Args:
        path: Where the records are kept; None where nobody keeps them.
        policy: How a device comes back.
        clock: Tells the Unix time.
        ours: Whether the records are this process's to keep; in an upgrade they are the younger hub's.
    """

    def __init__(
        self,
        path: Path | None,
        policy: RecoveryPolicy,
        clock: Callable[[], float] = time.time,
        *,
        ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._policy = policy
        self._changed: Callable[[], None] = _do_nothing
        self._clock = clock
        self._path = path
        self._records = _read(path)
        self._file = StatusFile(path, lambda: self._records, ours=ours)

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call a function whenever the health of a device may have changed."""
        self._changed = changed

    def record(self, key: str) -> HealthRecord:
        """The record of a device, to be looked at only."""
        return self._records.get(key) or HealthRecord()

    def failing(self, source: str) -> dict[str, Fault]:
        """What this source complains about, by device."""
        return {key: record.faults[source] for key, record in self._records.items() if source in record.faults}

    def health_of(self, resource: str, device: Device) -> DeviceHealth:
        """How a device of a resource stands, and the physical device with it."""
        if not self._records:
            return DeviceHealth()
        keys = dict.fromkeys((share_key(resource, device), physical_key(resource, device)))
        known = [record for key in keys if (record := self._records.get(key)) and record.reason]
        if not known:
            return DeviceHealth()
        worst = next((record for record in known if record.state is Health.UNHEALTHY), known[0])
        return DeviceHealth(worst.state, "; ".join(record.reason for record in known), worst.since, worst.source)

    def report(self, resource: str, devices: Iterable[Device]) -> None:
        """Take in what the plugin says about its devices."""
        for device in devices:
            if device.broken:
                self._report(physical_key(resource, device), BROKEN, device.broken)
            key = share_key(resource, device)
            if not device.unhealthy:
                self.clear(key, PLUGIN)
                continue
            self._report(key, PLUGIN, device.unhealthy)

    def fail(self, key: str, source: str, reason: str, process: ProcessId | None = None) -> None:
        """Something is wrong with a device."""
        self._change(key, lambda record, now: record.fail(source, reason, now, process))

    def clear(self, key: str, source: str) -> None:
        """This source has nothing to complain about any more."""
        if key in self._records and source in self._records[key].faults:
            self._change(key, lambda record, now: record.clear(source, now, self._policy))

    def begin_recovery(self, key: str, awaited: str) -> None:
        """Somebody finds out whether the device works."""
        self._change(key, lambda record, now: record.begin_recovery(awaited, now))

    def abort_recovery(self, key: str) -> None:
        """Nobody finds out any more; the faults stand as they did."""
        self._change(key, lambda record, _now: record.abort_recovery())

    def admin_faults(self, source: str) -> dict[str, Fault]:
        """What an operator says with this source, by device."""
        return {
            key: record.admin_faults[source] for key, record in self._records.items() if source in record.admin_faults
        }

    def set_admin_fault(self, key: str, source: str, reason: str) -> str:
        """An operator keeps a device from being used; why that could not be kept, empty when it was."""
        self._change(key, lambda record, now: record.set_admin_fault(source, reason, now))
        return self._file.write()

    def clear_admin_fault(self, key: str, source: str) -> None:
        """The operator's word counts no more, and the device stands as it did without it."""
        self._change(key, lambda record, _now: record.clear_admin_fault(source))

    def release(self, keys: Iterable[str]) -> tuple[str, str]:
        """Let what waits for an operator be used: a physical device, or the shares of it, or both.

        Returns:
            What was said against it, empty where nothing was; and why that could not be kept, empty when it was.
        """
        released: dict[str, None] = {}
        for key in keys:
            if said := copy.deepcopy(self.record(key)).release():
                released[said] = None
                self._change(key, lambda record, _now: record.release())
        return "; ".join(released), self._file.write() if released else ""

    def reasons(self, keys: Iterable[str]) -> str:
        """What is said against devices, each thing once; empty where nothing is."""
        return "; ".join(dict.fromkeys(reason for key in keys if (reason := self.record(key).reason)))

    def advance(self) -> None:
        """Finish the recoveries whose time has come."""
        now = self._clock()
        for key in [key for key, record in self._records.items() if record.is_recovering(now, self._policy)]:
            self._change(key, lambda record, now: record.advance(now, self._policy))

    def save(self) -> None:
        """Write the records now."""
        self._file.write()

    def restore(self) -> None:
        """Write the records soon where somebody has taken the file away."""
        if self._records:
            self._file.restore()

    def reload(self) -> None:
        """Take over what another process has kept, and add what is wrong since it did that last."""
        kept, written = _read(self._path), _written(self._path)
        for key, record in self._records.items():
            for source, fault in record.faults.items():
                if fault.since > written:
                    kept.setdefault(key, HealthRecord()).add(source, fault)
        self._records = kept
        self._file.mark_changed()
        self._changed()

    def _report(self, key: str, source: str, reason: str) -> None:
        known = self.record(key).faults.get(source)
        if known is None or known.reason != reason:
            self.fail(key, source, reason)

    def _change(self, key: str, change: Callable[[HealthRecord, float], object]) -> None:
        before = self.record(key)
        after = copy.deepcopy(before)
        change(after, self._clock())
        if after == before:
            return
        self._records[key] = after
        if after == HealthRecord():
            del self._records[key]
        self._file.mark_changed()
        self._changed()


def _do_nothing() -> None:
    pass


def _read(path: Path | None) -> dict[str, HealthRecord]:
    """The records as the last process left them; a probe that it had begun goes on no more.

    What cannot be read is put aside: without it the plugin serves as if nothing had been wrong, and says so.
    """
    if path is None or not path.exists():
        return {}
    try:
        records = msgspec.json.decode(path.read_bytes(), type=dict[str, HealthRecord])
    except (OSError, msgspec.DecodeError) as error:
        get_logger().error("health of earlier days lost", reason=str(error), kept=_put_aside(path))
        return {}
    for record in records.values():
        record.abort_recovery()
        record.clear_admin_fault(ADMIN_RESET)
    return records


def _put_aside(path: Path) -> str:
    """Where the file is now."""
    aside = path.with_suffix(".unreadable")
    try:
        path.replace(aside)
    except OSError:
        return str(path)
    return str(aside)


def _written(path: Path | None) -> float:
    """When the records were kept last, in Unix time; 0 where they never were."""
    try:
        return path.stat().st_mtime if path else 0
    except FileNotFoundError:
        return 0
