"""Which containers used the plugin's devices, from when to when, and what happened to the devices during that time.

The history comes from the kubelet's responses about devices in use, so its times are when the kubelet was queried. It
is kept in a file that belongs to the node: only the process that owns the devices writes it, and a process that becomes
their owner first reads what the previous owner has written.

Prometheus interprets a counter that decreases as one that was reset to zero, and would then count its value twice. So
the seconds only ever grow, across restarts too: an allocation that has not ended counts up to the last response, and
the modification time of the file is the time of that response, or later.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from hub.base.jsonfile import read_file, set_aside
from hub.base.log import get_logger
from hub.base.statusfile import StatusFile
from hub.base.untrusted import UnreadableError
from hub.kubelet.podresources import DeviceHolders
from hub.model.history import Allocation, AllocationHistory, DeviceSeconds, HealthChange
from hub.plugin.devices.devicelist import DeviceList
from hub.plugin.devices.inventory import Inventory
from hub.plugin.health.record import Health
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership, Role

KEPT = 1000
"""Maximum number of allocations that are kept once they have ended."""

MAX_SUMS = 1000
"""Maximum number of pairs of a resource and a namespace for which seconds are counted. The pair that has been unused
for the longest time is dropped first; for Prometheus, it begins again at zero."""

MAX_CHANGES = 20
"""Maximum number of changes of health that are kept for an allocation; the latest are kept."""

MAX_REASON = 300
"""Maximum length of a reason that is kept, in characters."""

MAX_GAP = 60
"""Seconds without a response after which it is unknown when an allocation missing from a new response ended; such an
allocation counts up to the last response that had it. With the pod resources API available, a response comes every 30
seconds while a container uses a device."""

REMOVED = "removed by the plugin"
"""The reason for a device that the plugin no longer offers."""

_Key = tuple[str, str]
"""A resource, and either the id of a device or a namespace."""


class History:
    """Keeps the allocations of a plugin's devices.

    Args:
        path: The file; None in a process that was started by hand.
        inventory: The devices, and their health.
        ownership: The role of this process.
        metrics: Where the seconds are published.
        clock: Returns the Unix time.
    """

    def __init__(
        self,
        path: Path | None,
        inventory: Inventory,
        ownership: Ownership,
        metrics: ProcessMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._inventory = inventory
        self._ownership = ownership
        self._metrics = metrics
        self._clock = clock
        self._is_owner = False
        self._file = StatusFile(path, self._owned)
        self._current: dict[_Key, Allocation] = {}
        self._ended: deque[Allocation] = deque(maxlen=KEPT)
        self._seconds: dict[_Key, int] = {}
        """The sums of allocations that have ended, by resource and namespace; the last one ended most recently."""
        self._answered = 0
        """The time of the last response."""

    def update(self, answer: DeviceHolders) -> None:
        """Take the kubelet's response: all devices of the node that containers use."""
        if not self._owns_devices():
            self._metrics.set_held_seconds({})
            return
        # The clock may have been set back.
        now = max(self._answered, int(self._clock()))
        used = self._of_plugin(answer)
        changed = self._end_others(used, now)
        changed |= self._begin_new(used, now)
        changed |= self._note_health(now)
        self._answered = now
        if changed:
            self._file.write()
        if changed or self._current:
            self._file.touch(now)
        self._publish_seconds()

    def note_health(self) -> None:
        """Record the health of the devices in use, which may have changed."""
        if self._owns_devices() and self._note_health(int(self._clock())):
            self._file.mark_changed()

    def _owns_devices(self) -> bool:
        """Return whether this process owns the devices, and read the file if it has become their owner."""
        before, self._is_owner = self._is_owner, self._ownership.role is Role.ACTIVE
        if self._is_owner and not before:
            self._load()
        return self._is_owner

    def _of_plugin(self, answer: DeviceHolders) -> DeviceHolders:
        # Includes resources that only the file has: before the first scan, and while scans fail, there are no others.
        resources = {*self._inventory.names, *(resource for resource, _ in self._current)}
        return {device: holder for device, holder in answer.items() if device[0] in resources}

    def _end_others(self, used: DeviceHolders, now: int) -> bool:
        """End the allocations that a response no longer has; return whether there are any."""
        others = [key for key, each in self._current.items() if used.get(key) != each.holder]
        until = now if now - self._answered <= MAX_GAP else self._answered
        for key in others:
            allocation = self._current.pop(key)
            self._ended.append(msgspec.structs.replace(allocation, until=max(until, allocation.since)))
            total = _sum_of(allocation)
            # Inserted again, so that it becomes the last one.
            self._seconds[total] = self._seconds.pop(total, 0) + _seconds(allocation, until)
        self._drop_sums()
        return bool(others)

    def _drop_sums(self) -> None:
        in_use = {_sum_of(each) for each in self._current.values()}
        idle = [total for total in self._seconds if total not in in_use]
        for total in idle[: max(0, len(self._seconds) - MAX_SUMS)]:
            del self._seconds[total]

    def _begin_new(self, used: DeviceHolders, now: int) -> bool:
        """Begin the allocations that are new in a response; return whether there are any."""
        new = [device for device in used if device not in self._current]
        lists = self._lists() if new else {}
        for resource, name in new:
            known = lists[resource].devices.get(name) if resource in lists else None
            physical = known.physical if known else ""
            self._current[resource, name] = Allocation(resource, name, used[resource, name], now, physical=physical)
        return bool(new)

    def _note_health(self, now: int) -> bool:
        """Record changes in the health of devices in use; return whether there are any."""
        changed = False
        lists = self._lists() if self._current else {}
        for key, allocation in self._current.items():
            if (found := lists.get(allocation.resource)) is None:
                # There has been no successful scan yet.
                continue
            change = _health_of(found, allocation.device, now)
            last = allocation.health[-1] if allocation.health else HealthChange(0, Health.HEALTHY)
            if (last.health, last.reason) != (change.health, change.reason):
                health = (*allocation.health, change)[-MAX_CHANGES:]
                self._current[key] = msgspec.structs.replace(allocation, health=health)
                changed = True
        return changed

    def _lists(self) -> Mapping[str, DeviceList]:
        return {resource.name: resource.list for resource in self._inventory}

    def _publish_seconds(self) -> None:
        totals = Counter(self._seconds)
        for each in self._current.values():
            totals[_sum_of(each)] += _seconds(each, self._answered)
        self._metrics.set_held_seconds(totals)

    def _owned(self) -> AllocationHistory | None:
        """Return what to write; None if this process does not own the devices."""
        self._ownership.refresh()
        if self._ownership.role is not Role.ACTIVE:
            return None
        sums = (DeviceSeconds(*key, seconds) for key, seconds in self._seconds.items())
        return AllocationHistory((*self._ended, *self._current.values()), tuple(sums))

    def _load(self) -> None:
        """Continue where the last process left off; a file that cannot be read is renamed."""
        history, answered = AllocationHistory(), 0
        try:
            if self._path and (found := read_file(self._path, AllocationHistory)):
                history, answered = found, int(self._path.lstat().st_mtime)
        except (UnreadableError, OSError) as error:
            kept = set_aside(self._path) if self._path else ""
            get_logger().warning("history unreadable", reason=str(error), kept=kept)
        self._ended = deque((each for each in history.allocations if each.until), maxlen=KEPT)
        self._current = {(each.resource, each.device): each for each in history.allocations if not each.until}
        self._seconds = {(each.resource, each.namespace): max(0, each.seconds) for each in history.ended}
        self._answered = answered
        if answered > (now := int(self._clock())):
            self._continue_at(now)

    def _continue_at(self, now: int) -> None:
        """Count from now on, although the last response has a later time: the clock was set back."""
        for key, allocation in self._current.items():
            total = _sum_of(allocation)
            self._seconds[total] = self._seconds.get(total, 0) + _seconds(allocation, self._answered)
            self._current[key] = msgspec.structs.replace(allocation, since=now)
        self._answered = now


def _health_of(devices: DeviceList, name: str, now: int) -> HealthChange:
    health = devices.health.get(name)
    if health is None:
        return HealthChange(now, Health.UNHEALTHY, REMOVED)
    return HealthChange(now, health.health, health.reason[:MAX_REASON])


def _sum_of(allocation: Allocation) -> _Key:
    """Return the sum that an allocation counts toward: its resource, and the namespace of its container."""
    return allocation.resource, allocation.holder.partition("/")[0]


def _seconds(allocation: Allocation, until: int) -> int:
    return max(0, until - allocation.since)
