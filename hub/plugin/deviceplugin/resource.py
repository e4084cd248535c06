"""One resource of a plugin: what it advertises, where it is served, and how it stands with the kubelet."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from hub.api.device import Device
from hub.api.plugin import Plugin
from hub.base.log import get_logger
from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import socket_name
from hub.model.plugin import DeviceStatus, Rejection, ResourceStatus
from hub.plugin.deviceplugin.messages import Snapshot
from hub.plugin.deviceplugin.registrar import Registrar
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.deviceplugin.servicer import DevicePluginServicer, Prepare
from hub.plugin.devices.devicelist import DeviceList
from hub.plugin.devices.pci import PciTree
from hub.plugin.health.record import Health
from hub.plugin.health.store import DeviceHealth, HealthStore
from hub.plugin.holders import Holders
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership

SCAN = "scan"
"""The source of what is wrong with all devices because nobody knows how they are."""

_SHOWN = 16


class Surroundings(NamedTuple):
    """What all resources of a process share."""

    instance: str
    """The hub that the sockets belong to."""
    plugin_dir: Path
    """The kubelet's plugin directory."""
    health: HealthStore
    """What is known of the devices besides what the plugin says."""
    holding: Holders
    """Who has the devices."""
    pci: PciTree
    """Where they hang."""
    neighbours: Ownership
    """Who else serves them."""
    meter: ProcessMetrics
    changed: Callable[[], None]
    """Called when `Resource.state` has changed."""


class Resource:
    """Ties together inventory, service, endpoint and registration of one resource.

    Args:
        plugin: Whose resource it is.
        name: A valid resource name.
        around: What it shares with others.
        prepare: Makes devices ready before their container starts.
    """

    def __init__(self, plugin: Plugin, name: str, around: Surroundings, prepare: Prepare) -> None:
        self.name = name
        self._around = around
        self._inventory = DeviceList()
        self._offered = Snapshot()
        self._distrust = ""
        self._distrusted_since = 0.0
        self._told: dict[str, str] = {}
        self._refusal: Rejection | None = None
        plugin_dir, meter = around.plugin_dir, around.meter
        service = DevicePluginServicer(
            plugin,
            name,
            self._inventory,
            prepare,
            allocated=around.holding.refresh_soon,
            refused=self._note_refusal,
            muted=lambda: bool(around.neighbours.newer_serving(name)),
            meter=meter,
        )
        self._endpoint = DevicePluginServer(
            plugin_dir / socket_name(name, around.instance, plugin_dir), service, self._check
        )
        kubelet_socket = plugin_dir / KUBELET_SOCKET
        self._registrar = Registrar(
            name,
            self._endpoint,
            kubelet_socket,
            service.options,
            neighbours=around.neighbours,
            changed=around.changed,
            meter=meter,
        )
        self._log = get_logger(resource=name)

    async def run(self) -> None:
        """Serve and stay registered until cancelled, then end the streams and remove the socket."""
        try:
            await self._registrar.run()
        finally:
            await self._endpoint.close()

    def update(self, snapshot: Snapshot) -> None:
        """Offer these devices from now on."""
        self._offered, self._distrust = snapshot, ""
        self._around.health.report(self.name, snapshot.devices.values())
        self.publish()

    def mark_unhealthy(self, reason: str) -> None:
        """Go on with the same devices, none of them healthy."""
        if reason != self._distrust:
            self._distrust, self._distrusted_since = reason, time.time()
            self.publish()

    def publish(self) -> None:
        """Advertise each device as healthy as is known by now."""
        judged = self._offered.judged(lambda device: self._verdict(device).reason)
        self._show(judged.all_unhealthy(self._distrust) if self._distrust else judged)

    @property
    def devices(self) -> Iterable[Device]:
        """The devices that are advertised."""
        return self._inventory.snapshot.devices.values()

    def check(self) -> None:
        """Look whether the registration still stands."""
        self._registrar.check()

    def reregister(self) -> None:
        """Make sure of the registration now."""
        self._registrar.reregister()

    def state(self) -> ResourceStatus:
        """The resource as others see it."""
        snapshot, registrar = self._inventory.snapshot, self._registrar
        holders = self._around.holding.of(self.name)
        known = self._around.holding.known
        return ResourceStatus(
            name=self.name,
            socket=self._endpoint.path.name,
            registration=registrar.state,
            since=registrar.since,
            registrations=registrar.registrations,
            detail=registrar.detail,
            capacity=len(snapshot.devices),
            allocatable=sum(not device.unhealthy for device in snapshot.devices.values()),
            allocated=len(holders) if known else None,
            reason=snapshot.reason,
            problems=snapshot.problems,
            warnings=snapshot.warnings,
            devices=tuple(
                self._device_state(device, holders.get(device.id, "")) for device in snapshot.devices.values()
            ),
            removed_in_use={name: holder for name, holder in holders.items() if name not in snapshot.devices},
            rejection=self._refusal,
        )

    def _verdict(self, device: Device) -> DeviceHealth:
        return self._around.health.health_of(self.name, device)

    def _device_state(self, device: Device, holder: str) -> DeviceStatus:
        verdict = self._verdict(device)
        if device.unhealthy and not verdict.reason:
            verdict = DeviceHealth(Health.UNHEALTHY, device.unhealthy, self._distrusted_since, SCAN)
        return DeviceStatus(
            device.id,
            not device.unhealthy,
            device.unhealthy,
            tuple(device.numa),
            device.physical,
            verdict.health,
            verdict.since,
            verdict.source,
            tuple(device.pci),
            self._around.pci.upstream(next(iter(device.pci), "")),
            device.attributes,
            holder,
        )

    def _note_refusal(self, reason: str) -> None:
        self._refusal = Rejection(reason, time.time(), 1 + (self._refusal.count if self._refusal else 0))
        self._around.changed()

    def _check(self) -> None:
        self._registrar.check()

    def _show(self, snapshot: Snapshot) -> None:
        before = self._inventory.snapshot
        if self._inventory.replace(snapshot):
            healthy = sum(not device.unhealthy for device in snapshot.devices.values())
            excuse = {"reason": snapshot.reason} if snapshot.reason else {}
            self._log.info("devices advertised", total=len(snapshot.devices), healthy=healthy, **excuse)
        if gone := [name for name in before.devices if name not in snapshot.devices]:
            self._log.warning("devices removed", devices=_shown(gone))
        if before.devices != snapshot.devices:
            self._log_health(snapshot.devices)
            self._count_turns(before.devices, snapshot.devices)
        for problem in snapshot.problems:
            if problem not in before.problems:
                self._log.error("device invalid", reason=problem)
        for warning in snapshot.warnings:
            if warning not in before.warnings:
                self._log.warning("device file missing", reason=warning)
        if _told(before) != _told(snapshot):
            self._around.changed()

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
            self._log.info("devices recovered", devices=_shown(risen))

    def _count_turns(self, before: Mapping[str, Device], after: Mapping[str, Device]) -> None:
        """Count the devices whose health is not what it was."""
        for name, device in after.items():
            was = before.get(name)
            if bool(device.unhealthy) != bool(was and was.unhealthy):
                source = self._verdict(device).source or (SCAN if device.unhealthy else "")
                self._around.meter.health_changed(self.name, healthy=not device.unhealthy, source=source)

    def _is_tried(self, device: Device, told: Mapping[str, str]) -> bool:
        """Whether a device that is known to be unhealthy may be on its way to recover."""
        return device.id in told and self._verdict(device).health is Health.RECOVERING


def _told(snapshot: Snapshot) -> tuple[object, ...]:
    """What the state file has of a snapshot."""
    return snapshot.devices, snapshot.reason, snapshot.problems, snapshot.warnings


def _shown(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
