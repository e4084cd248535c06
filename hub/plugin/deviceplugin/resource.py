"""One resource as the kubelet sees it: its responses, its socket and its registration."""

from typing import NamedTuple

from hub.plugin.deviceplugin.registrar import Registrar
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.deviceplugin.servicer import DevicePluginServicer
from hub.plugin.devices.resource import ResourceDevices
from hub.plugin.kubeletapi import ResourceView


class ServedResource(NamedTuple):
    """The parts that serve one resource."""

    devices: ResourceDevices
    servicer: DevicePluginServicer
    server: DevicePluginServer
    registrar: Registrar

    @property
    def view(self) -> ResourceView:
        """The resource as it is served now."""
        sent = self.servicer.messages.latest()
        return ResourceView(
            self.devices,
            self.server.path.name,
            self.registrar.state,
            self.registrar.since,
            self.registrar.registrations,
            self.registrar.detail,
            sent.omitted,
            (sent.problem,) if sent.problem else (),
            self.servicer.failing,
            self.servicer.rejection,
        )

    async def run(self) -> None:
        """Serve and stay registered until cancelled, then end the streams and remove the socket."""
        try:
            await self.registrar.run()
        finally:
            await self.registrar.close()
