"""The devices of one resource, from the scan to the published list."""

import asyncio
import time
from contextlib import AbstractContextManager

import msgspec

from hub.api.device import Device
from hub.plugin.devices.departures import Departure, Departures
from hub.plugin.devices.devicelist import DeviceList, ScannedDevices
from hub.plugin.devices.listlog import ListLog
from hub.plugin.devices.version import Version
from hub.plugin.health.record import SCAN, Health
from hub.plugin.health.store import DeviceHealth, HealthStore
from hub.plugin.metrics.process import ProcessMetrics


class ResourceDevices:
    """Keeps the list of one resource's devices.

    Args:
        name: The resource's name.
        health: Evaluates the health of each device.
        metrics: Counts devices whose health changes.

    Attributes:
        list: The published list.
    """

    def __init__(self, name: str, health: HealthStore, metrics: ProcessMetrics) -> None:
        self.name = name
        self.list = DeviceList()
        self._scanned = ScannedDevices()
        self._scan_error = ""
        self._scan_failed_at = 0.0
        self._health = health
        self._departures = Departures()
        self._finishing: set[asyncio.Task[None]] = set()
        self._version = Version()
        self._log = ListLog(name, metrics)

    def update(self, scanned: ScannedDevices) -> None:
        """Take the devices that a scan found, and report their condition to the health store."""
        self._scanned, self._scan_error = scanned, ""
        self._health.report(self.name, scanned.devices.values())

    def mark_unhealthy(self, reason: str) -> None:
        """Keep the devices of the last scan, none of them healthy."""
        if reason != self._scan_error:
            self._scan_error, self._scan_failed_at = reason, time.time()

    def publish(self) -> bool:
        """Evaluate the health of each device, once, and publish the list; return whether anything in it is new."""
        scanned, before = self._scanned, self.list
        vanished = self._departures.update(before.devices, scanned.devices)
        after = DeviceList(
            scanned.devices,
            self._scan_error or scanned.reason,
            scanned.problems,
            scanned.warnings,
            {name: self._evaluate(device) for name, device in scanned.devices.items()},
            self._departures.devices,
            before.version,
        )
        if after == before:
            return False
        self._replace_list(after)
        if vanished.devices:
            task = asyncio.create_task(self._finish(vanished))
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)
        return True

    def allocation(self) -> AbstractContextManager[None]:
        """Keep devices that vanish meanwhile in the kubelet's list, until it has processed the answer to a call."""
        return self._departures.allocation()

    async def wait_beyond(self, version: int) -> None:
        """Return as soon as there is a list that looks different to the kubelet from the one with this version."""
        await self._version.wait_beyond(version)

    def _replace_list(self, after: DeviceList) -> None:
        before = self.list
        if not after.same_for_kubelet(before):
            self._version.bump()
            after = msgspec.structs.replace(after, version=self._version.number)
        self.list = after
        self._log.record(before, after)

    async def _finish(self, departure: Departure) -> None:
        await self._departures.finish(departure)
        self._replace_list(msgspec.structs.replace(self.list, departing=self._departures.devices))

    def _evaluate(self, device: Device) -> DeviceHealth:
        health = self._health.health_of(self.name, device)
        if self._scan_error and not health.reason:
            return DeviceHealth(Health.UNHEALTHY, self._scan_error, self._scan_failed_at, SCAN)
        return health
