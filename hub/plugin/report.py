"""The report of a plugin process, which other processes read."""

import os
import time
from collections.abc import Iterable

from hub.api.device import Device
from hub.api.plugin import Plugin
from hub.base.tasks import Tasks
from hub.model.plugin import (
    ConfigFile,
    DeviceStatus,
    ExcludedDevice,
    PluginReport,
    RegistrationStatus,
    ResourceStatus,
    UnmatchedSetting,
)
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.pci import PciTree
from hub.plugin.health.record import ANNOTATION, CORDON
from hub.plugin.health.store import DeviceHealth, HealthStore
from hub.plugin.holders import Holders
from hub.plugin.kubeletapi import KubeletApi, ResourceView
from hub.plugin.ownership import Ownership, Role
from hub.plugin.resets.service import ResetService


class Reporter:
    """Builds the report from what the parts of the process currently know.

    Args:
        plugin: The plugin.
        name: Its name in logs and reports.
        config: The configuration file that it has read.
        inventory: Its devices.
        api: The API through which their resources are served.
        health: The cordons.
        holders: The containers that use the devices.
        resets: The last resets.
        ownership: The role of this process.
        tasks: The process's tasks, some of which may have failed.
    """

    def __init__(
        self,
        plugin: Plugin,
        name: str,
        config: ConfigFile | None,
        *,
        inventory: Inventory,
        api: KubeletApi,
        health: HealthStore,
        holders: Holders,
        resets: ResetService,
        ownership: Ownership,
        tasks: Tasks,
    ) -> None:
        self._name = name
        self._config = config
        self._started = time.time()
        self._inventory = inventory
        self._api = api
        self._health = health
        self._holders = holders
        self._resets = resets
        self._ownership = ownership
        self._tasks = tasks
        self._plugin = plugin
        self._pci = PciTree(plugin.host)

    def build(self) -> PluginReport:
        """Return the report as of now."""
        inventory = self._inventory
        invalid = (
            ResourceStatus(name, "", RegistrationStatus.INVALID, each.since, detail=each.reason)
            for name, each in inventory.invalid.items()
        )
        resources = (*map(self._resource, self._api), *invalid)
        is_standby = self._ownership.role is Role.STANDBY
        return PluginReport(
            plugin=self._name,
            pid=os.getpid(),
            started=self._started,
            scanned=inventory.scanned and (is_standby or self._are_served(resources)),
            resources=resources,
            reason=inventory.reason,
            fault=inventory.fault,
            excluded=tuple(ExcludedDevice(each.id, each.reason) for each in inventory.excluded),
            unmatched=tuple(UnmatchedSetting(each.reason, each.resource) for each in inventory.unmatched),
            notes=tuple(map(str, self._plugin.notes)),
            resets=self._resets.results,
            reset_counts=self._resets.counts,
            reset_fault=self._resets.fault,
            config=self._config,
            holders_known=self._holders.known,
            standby=inventory.scanned and is_standby,
            failures=dict(self._tasks.failures),
            cordons=self._cordons(),
            annotated=tuple(self._health.admin_faults(ANNOTATION)),
        )

    def _are_served(self, resources: Iterable[ResourceStatus]) -> bool:
        """Return whether the API has noticed each resource: until then, the plugin would seem to have none."""
        return {each.name for each in resources}.issuperset(self._inventory.names)

    def _cordons(self) -> dict[str, str]:
        # An administrator's own reason says more than the fact that there is an annotation.
        faults = self._health.admin_faults(ANNOTATION) | self._health.admin_faults(CORDON)
        return {key: fault.reason for key, fault in faults.items()}

    def _resource(self, resource: ResourceView) -> ResourceStatus:
        devices = resource.devices.list
        holders = self._holders.of(resource.devices.name)
        states = tuple(
            self._device(device, devices.health[name], holders.get(name, ""))
            for name, device in devices.devices.items()
            if name not in resource.omitted
        )
        return ResourceStatus(
            name=resource.devices.name,
            socket=resource.socket,
            registration=resource.registration,
            since=resource.since,
            registrations=resource.registrations,
            detail=resource.detail,
            capacity=len(states),
            allocatable=sum(state.healthy for state in states),
            allocated=len(holders) if self._holders.known else None,
            reason=devices.reason,
            problems=(*devices.problems, *resource.problems),
            warnings=devices.warnings,
            devices=states,
            removed_in_use={name: holder for name, holder in holders.items() if name not in devices.devices},
            failing=resource.failing,
            rejection=resource.rejection,
        )

    def _device(self, device: Device, health: DeviceHealth, holder: str) -> DeviceStatus:
        return DeviceStatus(
            device.id,
            not health.reason,
            health.reason,
            tuple(device.numa),
            device.physical,
            health.health,
            health.since,
            health.source,
            tuple(device.pci),
            self._pci.upstream(next(iter(device.pci), "")),
            device.attributes,
            holder,
            health.reporters,
        )
