"""All resources of a plugin: what its scans find, with the health of each device, as lists."""

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from hub.api.device import Device, Excluded, Unmatched
from hub.api.plugin import Plugin
from hub.base.changecount import ChangeCounter
from hub.base.log import get_logger
from hub.base.statusfile import StatusFile
from hub.kubelet.checkpoint import Checkpoint
from hub.plugin.devices.devicelist import ScannedDevices
from hub.plugin.devices.resource import ResourceDevices
from hub.plugin.devices.scan import Scan
from hub.plugin.devices.validation import validate_resource
from hub.plugin.health.keys import physical_key
from hub.plugin.health.store import HealthStore
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership, Role

_MOMENT = 0.01
"""Seconds by which a timer may differ from the clock of the health records."""


class InvalidResource(NamedTuple):
    """A resource that cannot be served."""

    reason: str
    since: float
    """Unix time."""


class Inventory:
    """Keeps the lists of a plugin's devices, by resource.

    Whatever may change the health of a device only marks the inventory as dirty. `publish` then evaluates each device
    once; the streams to the kubelet, the log, the metrics and the report all read that result.

    Args:
        plugin_class: The plugin's class.
        health: Evaluates the health of each device.
        ownership: The older hubs, one of which may serve while this process cannot.
        checkpoint: The devices that containers hold.
        metrics: Counts devices whose health changes.
        status: Written when anything has changed.

    Attributes:
        changes: Counts the changes to the resources, and to anything in their lists.
        scanned: Whether there has been a scan.
        reason: Why the plugin finds no device, or none that can be trusted.
        fault: Whether that is a fault, rather than a node without such hardware.
        excluded: Hardware that the plugin does not advertise.
        unmatched: Settings that match nothing.
        invalid: Resources that cannot be served, by name.
    """

    def __init__(
        self,
        plugin_class: type[Plugin],
        health: HealthStore,
        ownership: Ownership,
        *,
        checkpoint: Checkpoint,
        metrics: ProcessMetrics,
        status: StatusFile,
    ) -> None:
        self.changes = ChangeCounter()
        self.scanned = False
        self.reason = ""
        self.fault = False
        self.excluded: tuple[Excluded, ...] = ()
        self.unmatched: tuple[Unmatched, ...] = ()
        self.invalid: dict[str, InvalidResource] = {}
        self._plugin_class = plugin_class
        self._health = health
        self._ownership = ownership
        self._checkpoint = checkpoint
        self._metrics = metrics
        self._status = status
        self._resources: dict[str, ResourceDevices] = {}
        self._dirty: asyncio.Handle | None = None
        self._recovery: asyncio.TimerHandle | None = None
        self._log = get_logger()
        health.subscribe(self.mark_dirty)

    def __iter__(self) -> Iterator[ResourceDevices]:
        return iter(list(self._resources.values()))

    @property
    def names(self) -> Collection[str]:
        """The names of the resources."""
        return self._resources.keys()

    def all_devices(self) -> Iterator[tuple[str, Device]]:
        """Yield all advertised devices, each with its resource."""
        return ((resource.name, device) for resource in self for device in resource.list.devices.values())

    def physical_devices(self) -> Mapping[str, list[Device]]:
        """Return the shares of each physical device, by its key."""
        shares: dict[str, list[Device]] = {}
        for resource, device in self.all_devices():
            shares.setdefault(physical_key(resource, device), []).append(device)
        return shares

    def update(self, scan: Scan) -> None:
        """Take the result of a scan, and publish it at once."""
        if not self.scanned:
            self.scanned = True
            self._status.mark_changed()
        if not self._acquire(scan):
            self._leave_to_older(scan)
            return
        self._set_reason(scan.reason, fault=scan.fault)
        if not scan.failed:
            self.invalid = {name: each for name, each in self.invalid.items() if name in scan.resources}
        for name in scan.resources:
            if name not in self._resources and name not in self.invalid:
                self._add(name)
        removed = ScannedDevices(reason=scan.reason or "the plugin no longer offers a device of this resource")
        for resource in self:
            if scan.failed:
                resource.mark_unhealthy(scan.reason)
            else:
                resource.update(scan.resources.get(resource.name, removed))
        self.publish()
        if not scan.failed and scan.excluded != self.excluded:
            self._exclude(scan.excluded)
        if not scan.failed and scan.unmatched != self.unmatched:
            self._explain(scan.unmatched)

    def reject(self, name: str, reason: str) -> None:
        """Remove a resource that cannot be served."""
        self._log.error("resource invalid", resource=name, reason=reason)
        self._resources.pop(name, None)
        self.invalid[name] = InvalidResource(reason, time.time())
        self._status.mark_changed()

    def mark_dirty(self) -> None:
        """Publish soon; several changes result in one list."""
        if self._dirty is None:
            self._dirty = asyncio.get_running_loop().call_soon(self.publish)

    def publish(self) -> None:
        """Evaluate the health of each device, and publish the lists that have changed."""
        if self._dirty is not None:
            self._dirty.cancel()
            self._dirty = None
        if [resource for resource in self if resource.publish()]:
            self.changes.bump()
            self._status.mark_changed()
        self._await_recovery()

    def check_departing(self) -> None:
        """Update the kubelet's lists to match what containers hold."""
        for resource in self:
            resource.check_departing()

    def _await_recovery(self) -> None:
        """Publish again as soon as a device has been stable for long enough."""
        if self._recovery is not None:
            self._recovery.cancel()
        seconds = self._health.next_recovery()
        self._recovery = (
            None if seconds is None else asyncio.get_running_loop().call_later(seconds + _MOMENT, self._health.advance)
        )

    def _acquire(self, scan: Scan) -> bool:
        """Own the devices from the first scan on; return False if an older hub serves and the scan found a fault."""
        if self._ownership.role is Role.STANDBY:
            self._ownership.refresh()
            if scan.fault and self._ownership.older:
                return False
            self._ownership.acquire()
            self._health.refresh_role()
        return True

    def _leave_to_older(self, scan: Scan) -> None:
        self._set_reason(f"{scan.reason}; an older hub keeps serving", fault=scan.fault)

    def _add(self, name: str) -> None:
        if problem := validate_resource(self._plugin_class, name):
            self.reject(name, problem)
            return
        self._resources[name] = ResourceDevices(name, self._health, self._checkpoint, self._metrics)
        self.changes.bump()

    def _set_reason(self, reason: str, *, fault: bool) -> None:
        if (reason, fault) != (self.reason, self.fault):
            log = self._log.warning if fault else self._log.info
            log("scan result changed", reason=reason or "no problems")
            self.reason, self.fault = reason, fault
            self._status.mark_changed()

    def _exclude(self, excluded: tuple[Excluded, ...]) -> None:
        for each in excluded:
            if each not in self.excluded:
                self._log.info("device excluded", device=each.id, reason=each.reason)
        self.excluded = excluded
        self._status.mark_changed()

    def _explain(self, unmatched: tuple[Unmatched, ...]) -> None:
        for each in unmatched:
            if each not in self.unmatched:
                self._log.info("setting unmatched", resource=each.resource, reason=each.reason)
        self.unmatched = unmatched
        self._status.mark_changed()
