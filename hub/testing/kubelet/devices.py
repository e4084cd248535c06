"""The state of the device manager: the plugin and the devices of each resource. No input or output."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet.client import PluginClient
from hub.testing.kubelet.model import AdvertisedDevice, Capacity


@dataclass(slots=True)
class PluginEndpoint:
    """The plugin of a resource."""

    client: PluginClient | None = None
    """None if the resource is from the checkpoint and its plugin has not registered again."""
    options: wire.DevicePluginOptions = field(default_factory=wire.DevicePluginOptions)
    stopped_at: float | None = None
    """When it disconnected, by time.monotonic(); None while it is connected."""


class DeviceManager:
    """The plugins and devices that one kubelet knows, by resource."""

    def __init__(self) -> None:
        self._endpoints: dict[str, PluginEndpoint] = {}
        self._devices: dict[str, dict[str, AdvertisedDevice]] = {}

    def restore(self, resource: str, now: float) -> None:
        """Add a resource from before the restart, without devices until its plugin registers again."""
        self._endpoints[resource] = PluginEndpoint(stopped_at=now)
        self._devices[resource] = {}

    def connected(self, resource: str, client: PluginClient, options: wire.DevicePluginOptions) -> None:
        """Set the plugin of a resource; its devices are known once the plugin lists them."""
        self._endpoints[resource] = PluginEndpoint(client, options)

    def listed(self, resource: str, devices: Iterable[AdvertisedDevice]) -> None:
        """Replace the resource's devices."""
        self._devices[resource] = {device.id: device for device in devices}

    def disconnected(self, resource: str, now: float) -> None:
        """Mark all devices of the resource as unhealthy."""
        if endpoint := self._endpoints.get(resource):
            endpoint.stopped_at = now
            devices = self._devices.setdefault(resource, {})
            self._devices[resource] = {device.id: replace(device, healthy=False) for device in devices.values()}

    def forget(self, resource: str, stopped_at: float) -> bool:
        """Remove the resource, unless its plugin has changed since `stopped_at`; return whether it was removed."""
        endpoint = self._endpoints.get(resource)
        if endpoint is None or endpoint.stopped_at != stopped_at:
            return False
        del self._endpoints[resource]
        del self._devices[resource]
        return True

    def endpoint(self, resource: str) -> PluginEndpoint | None:
        """Return the plugin of the resource."""
        return self._endpoints.get(resource)

    def devices(self, resource: str) -> list[AdvertisedDevice] | None:
        """Return the resource's devices in the order of its plugin's list; None if the resource is unknown."""
        devices = self._devices.get(resource)
        return None if devices is None else list(devices.values())

    def healthy(self) -> dict[str, list[AdvertisedDevice]]:
        """Return the healthy devices of every resource."""
        return {
            resource: [device for device in devices.values() if device.healthy]
            for resource, devices in self._devices.items()
        }

    def capacity(self) -> dict[str, Capacity]:
        """Return the number of devices of every resource."""
        return {
            resource: Capacity(len(self._devices[resource]), len(healthy))
            for resource, healthy in self.healthy().items()
        }
