"""The health of all devices of a plugin, kept across restarts: a broken device stays broken."""

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from hub.api.device import Device
from hub.api.health import RecoveryPolicy
from hub.base.jsonfile import read_file, set_aside
from hub.base.log import get_logger
from hub.base.processid import ProcessId
from hub.base.statusfile import StatusFile
from hub.base.untrusted import UnreadableError
from hub.model.plugin import NO_FAULT_SOURCES
from hub.plugin.health.external import ExternalFaults
from hub.plugin.health.keys import physical_key, share_key
from hub.plugin.health.record import ADMIN_RESET, BROKEN, EXTERNAL, HELD, PLUGIN, Fault, Health, HealthRecord
from hub.plugin.ownership import Ownership, Role

HeldFaults = Mapping[tuple[str, str], Fault]
"""The reason why each device is protected, such as the pod that has it, by resource and id."""


class DeviceHealth(NamedTuple):
    """The health of one device."""

    health: Health = Health.HEALTHY
    reason: str = ""
    """Why the device cannot be used; empty if it can."""
    since: float = 0
    """Unix time; 0 if the device is healthy."""
    source: str = ""
    """The source of the oldest fault."""
    held: str = ""
    """Why claims must not get the device, such as a pod that got it through another API or driver; empty if there is no
    such reason. `reason` contains it, too."""
    reporters: tuple[str, ...] = ()
    """The other programs that report it as faulty."""


def _rank(health: DeviceHealth) -> int:
    """Return which health of several determines the source: a fault, before what is intended, before a recovery."""
    if health.health is not Health.UNHEALTHY:
        return 2
    return int(health.source in NO_FAULT_SOURCES)


class HealthStore:
    """Health records: by `share_key` for what the plugin reports about a device, by `physical_key` for the rest.

    The records belong to the node. Only the process that owns the devices writes them; a process that becomes
    their owner first reads what the previous owner has written.

    Args:
        path: The file; None if the records are not kept.
        policy: How a device recovers.
        ownership: The role of this process.
        clock: Returns the Unix time.
        external: The directory with the reports of other programs; None if there is none.
    """

    def __init__(
        self,
        path: Path | None,
        policy: RecoveryPolicy,
        ownership: Ownership,
        clock: Callable[[], float] = time.time,
        *,
        external: Path | None = None,
    ) -> None:
        self._path = path
        self._policy = policy
        self._ownership = ownership
        self._role = ownership.role
        self._clock = clock
        self._changed: Callable[[], None] = _do_nothing
        self._records = _read(path)
        self._file = StatusFile(path, self._owned_records)
        self._external = ExternalFaults(external)
        self._external.refresh(clock())
        self._held: dict[str, HeldFaults] = {}

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call a function whenever the health of a device may have changed."""
        self._changed = changed

    def refresh_role(self) -> Role:
        """Find the role of this process, and read the records again if it has become their owner."""
        self._ownership.refresh()
        before, self._role = self._role, self._ownership.role
        if self._role is not before and (self._role is Role.ACTIVE or before is Role.STANDBY):
            self._reload()
        return self._role

    def record(self, key: str) -> HealthRecord:
        """Return the record of a device, which must not be changed."""
        return self._records.get(key) or HealthRecord()

    def failing(self, source: str) -> dict[str, Fault]:
        """Return the faults from one source, by device."""
        return {key: record.faults[source] for key, record in self._records.items() if source in record.faults}

    def health_of(self, resource: str, device: Device) -> DeviceHealth:
        """Evaluate the health of a resource's device, including that of the physical device.

        Reports of other programs only add reasons to those in the records, and so does another use of the device.
        """
        if not self._records and not self._external and not self._held:
            return DeviceHealth()
        keys = dict.fromkeys((share_key(resource, device), physical_key(resource, device)))
        records = [record for key in keys if (record := self._records.get(key)) and record.reason]
        known = [DeviceHealth(each.state, each.reason, each.since, each.source) for each in records]
        reporters: tuple[str, ...] = ()
        if external := self._external.of(resource, device):
            known.append(DeviceHealth(Health.UNHEALTHY, external.reason, external.since, EXTERNAL))
            reporters = external.programs
        held = self._held_by(resource, device)
        if held:
            known.append(DeviceHealth(Health.UNHEALTHY, held.reason, held.since, HELD))
        if not known:
            return DeviceHealth()
        reason = "; ".join(each.reason for each in known)
        return min(known, key=_rank)._replace(reason=reason, held=held.reason if held else "", reporters=reporters)

    def report(self, resource: str, devices: Iterable[Device]) -> None:
        """Record what the plugin reports about its devices."""
        for device in devices:
            if device.broken:
                self._report(physical_key(resource, device), BROKEN, device.broken)
            key = share_key(resource, device)
            if not device.unhealthy:
                self.clear(key, PLUGIN)
                continue
            self._report(key, PLUGIN, device.unhealthy)

    def fail(self, key: str, source: str, reason: str, process: ProcessId | None = None) -> None:
        """Record a device's fault."""
        self._change(key, lambda record, now: record.fail(source, reason, now, process))

    def clear(self, key: str, source: str) -> None:
        """Remove the fault from one source."""
        if key in self._records and source in self._records[key].faults:
            self._change(key, lambda record, now: record.clear(source, now, self._policy))

    def begin_recovery(self, key: str, awaited: str) -> None:
        """Begin a recovery attempt; `clear`, `fail` or `abort_recovery` ends it."""
        self._change(key, lambda record, now: record.begin_recovery(awaited, now))

    def abort_recovery(self, key: str) -> None:
        """End a recovery attempt without a result; the faults remain as they were."""
        self._change(key, lambda record, _now: record.abort_recovery())

    def admin_faults(self, source: str) -> dict[str, Fault]:
        """Return the faults from one source that an administrator has set, by device."""
        return {
            key: record.admin_faults[source] for key, record in self._records.items() if source in record.admin_faults
        }

    def set_admin_fault(self, key: str, source: str, reason: str) -> str:
        """Prevent use of a device; return why the fault could not be saved, and an empty string if it was."""
        # Done before the change, which would be lost if the write caused the records to be read again.
        self.refresh_role()
        self._change(key, lambda record, now: record.set_admin_fault(source, reason, now))
        return self._file.write()

    def clear_admin_fault(self, key: str, source: str) -> None:
        """Remove a fault that an administrator has set; the other faults of the device remain."""
        self._change(key, lambda record, _now: record.clear_admin_fault(source))

    def release(self, keys: Iterable[str]) -> tuple[str, str]:
        """Release what waits for an administrator: a physical device, its shares, or both.

        Returns:
            The reasons that were removed, empty if there were none; and why that could not be saved, empty if it was.
        """
        self.refresh_role()
        released: dict[str, None] = {}
        for key in keys:
            if reason := copy.deepcopy(self.record(key)).release():
                released[reason] = None
                self._change(key, lambda record, _now: record.release())
        return "; ".join(released), self._file.write() if released else ""

    def reasons(self, keys: Iterable[str]) -> str:
        """Return why devices cannot be used, each reason once; empty if they can."""
        return "; ".join(dict.fromkeys(reason for key in keys if (reason := self.record(key).reason)))

    def refresh_external(self) -> None:
        """Check the reports of other programs again."""
        if self._external.refresh(self._clock()):
            self._changed()

    def set_held(self, by: str, reasons: Mapping[tuple[str, str], str]) -> None:
        """Protect the devices that pods got through another API or driver; end the protection by the previous call.

        Args:
            by: Names the API or driver that allocated them.
            reasons: Who has them, by resource and id.
        """
        now, before = self._clock(), self._held.get(by, {})
        held = {
            key: known if (known := before.get(key)) and known.reason == reason else Fault(reason, now)
            for key, reason in reasons.items()
        }
        if held == before:
            return
        self._held[by] = held
        if not held:
            del self._held[by]
        self._changed()

    def _held_by(self, resource: str, device: Device) -> Fault | None:
        faults = (held.get((resource, device.id)) for held in self._held.values())
        return next((fault for fault in faults if fault), None)

    def advance(self) -> None:
        """Finish the recoveries of devices that have been stable long enough."""
        now = self._clock()
        for key in [key for key, record in self._records.items() if record.can_advance(now, self._policy)]:
            self._change(key, lambda record, now: record.advance(now, self._policy))

    def next_recovery(self) -> float | None:
        """Return the seconds until `advance` can finish a recovery; None if time is not enough for any device."""
        times = [at for record in self._records.values() if (at := record.stable_at(self._policy)) is not None]
        return max(0.0, min(times) - self._clock()) if times else None

    def save(self) -> None:
        """Write the records now, if this process owns them."""
        self._file.write()

    def restore(self) -> None:
        """Write the records soon if the file was removed or replaced."""
        if self._records:
            self._file.restore()

    def _owned_records(self) -> dict[str, HealthRecord] | None:
        """Return the records to write; None if this process does not own them."""
        return self._records if self.refresh_role() is Role.ACTIVE else None

    def _reload(self) -> None:
        """Read what another process has written, and add the newer faults of this process."""
        saved, written = _read(self._path), _written(self._path)
        for key, record in self._records.items():
            for source, fault in record.faults.items():
                if fault.since > written:
                    saved.setdefault(key, HealthRecord()).add(source, fault)
        self._records = saved
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
    """Return the records as the last process left them, without its recovery attempts.

    A file that cannot be read is renamed: the plugin serves as if there had been no fault, and logs that.
    """
    if path is None:
        return {}
    try:
        records = read_file(path, dict[str, HealthRecord]) or {}
    except UnreadableError as error:
        get_logger().error("health file unreadable", reason=str(error), kept=set_aside(path))
        return {}
    for record in records.values():
        record.abort_recovery()
        record.clear_admin_fault(ADMIN_RESET)
    return records


def _written(path: Path | None) -> float:
    """Return when the records were last written, in Unix time; 0 if they never were."""
    try:
        return path.stat().st_mtime if path else 0
    except FileNotFoundError:
        return 0
