"""The device plugin API (v1beta1): a server and a registration for each resource."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from hub.api.plugin import Plugin
from hub.base.errors import ConfigError
from hub.base.notifier import Notifier
from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import socket_name
from hub.base.statusfile import StatusFile
from hub.base.tasks import Tasks
from hub.plugin.deviceplugin.registrar import Registrar
from hub.plugin.deviceplugin.resource import ServedResource
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.deviceplugin.servicer import DevicePluginServicer
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.resource import ResourceDevices
from hub.plugin.holders import Holders
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership
from hub.plugin.resets.service import ResetService


class DevicePluginApi:
    """Serves each resource of an inventory on a socket of its own, and keeps it registered.

    Args:
        plugin: The plugin.
        plugin_dir: The kubelet's plugin directory, where the sockets are.
        instance: The hub's name, which is part of the sockets' names.
        inventory: The devices.
        resets: Resets devices before a container starts.
        holders: Is refreshed when a container gets devices.
        ownership: The other hubs on the node.
        metrics: Measures calls and registrations.
        status: Written when anything has changed.
        tasks: Keep each resource served.
    """

    def __init__(
        self,
        plugin: Plugin,
        plugin_dir: Path,
        instance: str,
        *,
        inventory: Inventory,
        resets: ResetService,
        holders: Holders,
        ownership: Ownership,
        metrics: ProcessMetrics,
        status: StatusFile,
        tasks: Tasks,
    ) -> None:
        self._plugin = plugin
        self._plugin_dir = plugin_dir
        self._instance = instance
        self._inventory = inventory
        self._resets = resets
        self._holders = holders
        self._ownership = ownership
        self._metrics = metrics
        self._status = status
        self._tasks = tasks
        self._resources: dict[str, ServedResource] = {}

    def __iter__(self) -> Iterator[ServedResource]:
        return iter(self._resources.values())

    async def run(self) -> None:
        """Serve each resource from the moment the inventory contains it."""
        running: set[str] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                version = self._inventory.version.number
                for devices in self._inventory:
                    name = devices.name
                    if name not in running and (resource := self._resources.get(name) or self._serve(devices)):
                        running.add(name)
                        group.create_task(self._tasks.run(f"registration of {name}", resource.run))
                await self._inventory.version.wait_beyond(version)

    async def hand_over(self) -> None:
        """Keep serving until other hubs have the resources, or none can take them over."""
        await asyncio.gather(*(resource.registrar.hand_over() for resource in self))

    def check(self) -> None:
        """Have each registration verified."""
        for resource in self:
            resource.registrar.check()

    def reregister(self) -> None:
        """Verify each registration now, without waiting for the next try."""
        for resource in self:
            resource.registrar.reregister()

    def _serve(self, devices: ResourceDevices) -> ServedResource | None:
        """Create the server of a resource; None if its socket would have no valid path."""
        name = devices.name
        try:
            path = self._plugin_dir / socket_name(name, self._instance, self._plugin_dir)
        except ConfigError as error:
            self._inventory.reject(name, str(error))
            return None
        notifier = Notifier()
        servicer = DevicePluginServicer(
            self._plugin,
            devices,
            resets=self._resets,
            holders=self._holders,
            ownership=self._ownership,
            metrics=self._metrics,
            status=self._status,
        )
        server = DevicePluginServer(path, servicer, notifier)
        registrar = Registrar(
            name,
            server,
            self._plugin_dir / KUBELET_SOCKET,
            servicer.options,
            calls=servicer.calls,
            notifier=notifier,
            ownership=self._ownership,
            metrics=self._metrics,
            status=self._status,
        )
        self._resources[name] = ServedResource(devices, servicer, server, registrar)
        self._holders.refresh_soon()
        self._status.mark_changed()
        return self._resources[name]
