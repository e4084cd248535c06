"""The device plugin API (v1beta1): a server and a registration for each resource."""

import asyncio
from collections.abc import Iterator

from hub.base.errors import ConfigError
from hub.base.notifier import Notifier
from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import socket_name
from hub.plugin.deviceplugin.registrar import Registrar
from hub.plugin.deviceplugin.resource import ServedResource
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.deviceplugin.servicer import DevicePluginServicer
from hub.plugin.devices.resource import ResourceDevices
from hub.plugin.kubeletapi import ApiParts, ResourceView


class DevicePluginApi:
    """Serves each resource of an inventory on a socket of its own, and keeps it registered.

    Args:
        parts: The parts of the process.
        instance: The hub's name, which is part of the sockets' names.
    """

    def __init__(self, parts: ApiParts, instance: str) -> None:
        self._parts = parts
        self._instance = instance
        self._resources: dict[str, ServedResource] = {}

    def __iter__(self) -> Iterator[ResourceView]:
        return (resource.view for resource in self._resources.values())

    async def run(self) -> None:
        """Serve each resource from the moment the inventory contains it."""
        running: set[str] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                version = self._parts.inventory.changes.number
                for devices in self._parts.inventory:
                    name = devices.name
                    if name not in running and (resource := self._resources.get(name) or self._serve(devices)):
                        running.add(name)
                        group.create_task(self._parts.tasks.run(f"registration of {name}", resource.run))
                await self._parts.inventory.changes.wait_beyond(version)

    async def hand_over(self) -> None:
        """Keep serving until other hubs have the resources, or none can take them over."""
        await asyncio.gather(*(resource.registrar.hand_over() for resource in self._resources.values()))

    def check(self) -> None:
        """Have each registration verified."""
        for resource in self._resources.values():
            resource.registrar.check()

    def reregister(self) -> None:
        """Verify each registration now, without waiting for the next attempt."""
        for resource in self._resources.values():
            resource.registrar.reregister()

    def _serve(self, devices: ResourceDevices) -> ServedResource | None:
        """Create the server of a resource; return None if its socket would have no valid path."""
        name = devices.name
        try:
            path = self._parts.plugin_dir / socket_name(name, self._instance, self._parts.plugin_dir)
        except ConfigError as error:
            self._parts.inventory.reject(name, str(error))
            return None
        notifier = Notifier()
        servicer = DevicePluginServicer(
            self._parts.plugin,
            devices,
            resets=self._parts.resets,
            holders=self._parts.holders,
            ownership=self._parts.ownership,
            metrics=self._parts.metrics,
            status=self._parts.status,
        )
        server = DevicePluginServer(path, servicer, notifier)
        registrar = Registrar(
            name,
            server,
            self._parts.plugin_dir / KUBELET_SOCKET,
            servicer.options,
            calls=servicer.calls,
            notifier=notifier,
            ownership=self._parts.ownership,
            metrics=self._parts.metrics,
            status=self._parts.status,
        )
        self._resources[name] = ServedResource(devices, servicer, server, registrar)
        self._parts.holders.refresh_soon()
        self._parts.status.mark_changed()
        return self._resources[name]
