"""The devices of one resource, from the scan to the published list."""

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager

import msgspec

from hub.api.device import Device
from hub.base.changecount import ChangeCounter
from hub.kubelet.checkpoint import Checkpoint
from hub.plugin.devices.departures import Departure, Departures
from hub.plugin.devices.devicelist import DeviceList, ScannedDevices
from hub.plugin.devices.listlog import ListLog
from hub.plugin.health.record import SCAN, Health
from hub.plugin.health.store import DeviceHealth, HealthStore
from hub.plugin.metrics.process import ProcessMetrics


class ResourceDevices:
    """Keeps the list of one resource's devices.

    Args:
        name: The resource's name.
        health: Evaluates the health of each device.
        checkpoint: The devices that containers hold.
        metrics: Counts devices whose health changes.

    Attributes:
        list: The published list.
    """

    def __init__(self, name: str, health: HealthStore, checkpoint: Checkpoint, metrics: ProcessMetrics) -> None:
        self.name = name
        self.list = DeviceList()
        self._scanned = ScannedDevices()
        self._scan_error = ""
        self._scan_failed_at = 0.0
        self._health = health
        self._checkpoint = checkpoint
        self._departures = Departures()
        self._released: frozenset[str] = frozenset()
        self._finishing: set[asyncio.Task[None]] = set()
        self._version = ChangeCounter()
        self._log = ListLog(name, metrics)

    def update(self, scanned: ScannedDevices) -> None:
        """Take the devices that a scan found, and report their condition to the health store."""
        self._scanned, self._scan_error = scanned, ""
        self._health.report(self.name, scanned.devices.values())

    def mark_unhealthy(self, reason: str) -> None:
        """Keep the devices of the last scan, all of them unhealthy."""
        if reason != self._scan_error:
            self._scan_error, self._scan_failed_at = reason, time.time()

    def publish(self) -> bool:
        """Evaluate the health of each device, once, and publish the list; return whether anything in it is new."""
        scanned, before = self._scanned, self.list
        departure = self._departures.update(before.devices, scanned.devices)
        after = DeviceList(
            scanned.devices,
            self._scan_error or scanned.reason,
            scanned.problems,
            scanned.warnings,
            {name: self._evaluate(device) for name, device in scanned.devices.items()},
            self._departing(scanned.devices),
            before.version,
        )
        if after == before:
            return False
        self._replace_list(after)
        if departure.devices:
            task = asyncio.create_task(self._finish(departure))
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)
        return True

    def check_departing(self) -> None:
        """Publish the list again if a container has got or released a device that has disappeared."""
        departing = self._departing(self.list.devices)
        if departing != self.list.departing:
            self._replace_list(msgspec.structs.replace(self.list, departing=departing))

    def note_use(self, used: Collection[str]) -> None:
        """Send the list again if containers have released devices that have disappeared.

        A kubelet writes its checkpoint for each list, but not when a container ends.
        """
        released = frozenset(self.list.departing) - self._departures.devices.keys() - set(used)
        if not released <= self._released:
            self.list = self._bumped(self.list)
        self._released = released

    def allocation(self) -> AbstractContextManager[None]:
        """Keep devices that disappear during a call in the kubelet's list, until it has processed the response."""
        return self._departures.allocation()

    async def wait_beyond(self, version: int) -> None:
        """Wait until there is a list that looks different to the kubelet from the list with this version."""
        await self._version.wait_beyond(version)

    def _replace_list(self, after: DeviceList) -> None:
        before = self.list
        if not after.same_for_kubelet(before):
            after = self._bumped(after)
        self.list = after
        self._log.record(before, after)

    async def _finish(self, departure: Departure) -> None:
        await self._departures.finish(departure)
        self.check_departing()

    def _departing(self, offered: Mapping[str, Device]) -> Mapping[str, Device]:
        """Return the devices that the plugin does not offer, and that a kubelet may still look up in the list.

        When it starts, a kubelet admits its pods again. If other devices have NUMA nodes, it looks up the NUMA nodes of
        the devices that its containers hold. It crashes, each time it starts, if one of these devices is missing from
        the list (`generateDeviceTopologyHints` in pkg/kubelet/cm/devicemanager, 1.34 to 1.37; not with the `none`
        topology policy).
        """
        kept: Mapping[str, Device]
        held = self._checkpoint.held(self.name)
        if held is None:
            # It is unknown which of them containers hold, so none is removed.
            kept = {name: device for name, device in self.list.departing.items() if name not in offered}
        else:
            removed = (Device(name, numa=numa) for name, numa in held.items() if name not in offered)
            kept = ScannedDevices.of(removed).devices
        return {**self._departures.devices, **kept}

    def _bumped(self, after: DeviceList) -> DeviceList:
        self._version.bump()
        return msgspec.structs.replace(after, version=self._version.number)

    def _evaluate(self, device: Device) -> DeviceHealth:
        health = self._health.health_of(self.name, device)
        if self._scan_error and not health.reason:
            return DeviceHealth(Health.UNHEALTHY, self._scan_error, self._scan_failed_at, SCAN)
        return health
