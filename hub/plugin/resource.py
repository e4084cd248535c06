"""One resource of a plugin: what it advertises, where it is served, and how it stands with the kubelet."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hub.log import get_logger
from hub.paths import KUBELET_SOCKET
from hub.plugin.contract import Plugin
from hub.plugin.device import Device
from hub.plugin.endpoint import Endpoint, socket_name
from hub.plugin.health import Health
from hub.plugin.healthbook import HealthBook, Verdict
from hub.plugin.inventory import Inventory
from hub.plugin.registration import Registrar
from hub.plugin.service import DevicePluginService, Prepare
from hub.plugin.snapshot import Snapshot
from hub.state import DeviceState, ResourceState

SCAN = "scan"
"""The source of what is wrong with all devices because nobody knows how they are."""

_SHOWN = 16


class Resource:
    """Ties together inventory, service, endpoint and registration of one resource.

    Args:
        plugin: Whose resource it is.
        name: A valid resource name.
        instance: The hub that the socket belongs to.
        plugin_dir: The kubelet's plugin directory.
        health: What is known of the devices besides what the plugin says.
        prepare: Makes devices ready before their container starts.
        changed: Called when `state` has changed.
    """

    def __init__(
        self,
        plugin: Plugin,
        name: str,
        instance: str,
        plugin_dir: Path,
        *,
        health: HealthBook,
        prepare: Prepare,
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self._changed = changed
        self._inventory = Inventory()
        self._health = health
        self._offered = Snapshot()
        self._distrust = ""
        self._distrusted_since = 0.0
        self._told: dict[str, str] = {}
        service = DevicePluginService(plugin, name, self._inventory, prepare)
        self._endpoint = Endpoint(plugin_dir / socket_name(name, instance, plugin_dir), service, self._check)
        self._registrar = Registrar(name, self._endpoint, plugin_dir / KUBELET_SOCKET, service.options, changed)
        self._log = get_logger(resource=name)

    async def run(self) -> None:
        """Serve and stay registered until cancelled, then end the streams and remove the socket."""
        try:
            await self._registrar.run()
        finally:
            await self._endpoint.close()

    def advertise(self, snapshot: Snapshot) -> None:
        """Offer these devices from now on."""
        self._offered, self._distrust = snapshot, ""
        self._health.hear(self.name, snapshot.devices.values())
        self.judge()

    def distrust(self, reason: str) -> None:
        """Go on with the same devices, none of them healthy."""
        if reason != self._distrust:
            self._distrust, self._distrusted_since = reason, time.time()
            self.judge()

    def judge(self) -> None:
        """Advertise each device as healthy as is known by now."""
        judged = self._offered.judged(lambda device: self._verdict(device).reason)
        self._show(judged.distrusted(self._distrust) if self._distrust else judged)

    @property
    def devices(self) -> Iterable[Device]:
        """The devices that are advertised."""
        return self._inventory.snapshot.devices.values()

    def check(self) -> None:
        """Look whether the registration still stands."""
        self._registrar.check()

    def hurry(self) -> None:
        """Make sure of the registration now."""
        self._registrar.hurry()

    def state(self) -> ResourceState:
        """The resource as others see it."""
        snapshot, registrar = self._inventory.snapshot, self._registrar
        return ResourceState(
            name=self.name,
            socket=self._endpoint.path.name,
            registration=registrar.state,
            since=registrar.since,
            registrations=registrar.registrations,
            detail=registrar.detail,
            reason=snapshot.reason,
            problems=snapshot.problems,
            devices=tuple(self._device_state(device) for device in snapshot.devices.values()),
        )

    def _verdict(self, device: Device) -> Verdict:
        return self._health.verdict(self.name, device)

    def _device_state(self, device: Device) -> DeviceState:
        verdict = self._verdict(device)
        if device.unhealthy and not verdict.reason:
            verdict = Verdict(Health.UNHEALTHY, device.unhealthy, self._distrusted_since, SCAN)
        return DeviceState(
            device.id,
            not device.unhealthy,
            device.unhealthy,
            tuple(device.numa),
            device.physical,
            verdict.health,
            verdict.since,
            verdict.source,
        )

    def _check(self) -> None:
        self._registrar.check()

    def _show(self, snapshot: Snapshot) -> None:
        before = self._inventory.snapshot
        if self._inventory.replace(snapshot):
            healthy = sum(not device.unhealthy for device in snapshot.devices.values())
            excuse = {"reason": snapshot.reason} if snapshot.reason else {}
            self._log.info("devices", total=len(snapshot.devices), healthy=healthy, **excuse)
        if before.devices != snapshot.devices:
            self._log_health(snapshot.devices)
        for problem in snapshot.problems:
            if problem not in before.problems:
                self._log.error("device left out", reason=problem)
        if (before.devices, before.reason, before.problems) != (snapshot.devices, snapshot.reason, snapshot.problems):
            self._changed()

    def _log_health(self, devices: Mapping[str, Device]) -> None:
        """One line for all devices that share a reason: where the driver has gone, there may be thousands.

        And one line for a reason, not one for each attempt to recover from it.
        """
        fallen: dict[str, list[str]] = {}
        told = {name: reason for name, reason in self._told.items() if name in devices}
        risen = [name for name in told if not devices[name].unhealthy]
        for name in risen:
            del told[name]
        for name, device in devices.items():
            if device.unhealthy and device.unhealthy != told.get(name) and not self._is_tried(device, told):
                told[name] = device.unhealthy
                fallen.setdefault(device.unhealthy, []).append(name)
        self._told = told
        for reason, names in fallen.items():
            self._log.warning("devices unhealthy", devices=_shown(names), reason=reason)
        if risen:
            self._log.info("devices healthy again", devices=_shown(risen))

    def _is_tried(self, device: Device, told: Mapping[str, str]) -> bool:
        """Whether a device that is known to be unhealthy may be on its way to recover."""
        return device.id in told and self._verdict(device).health is Health.RECOVERING


def _shown(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
