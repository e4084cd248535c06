"""The device manager's books: which plugin answers for which resource, and which devices it has. No input or output."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet.client import PluginClient
from hub.testing.kubelet.model import AdvertisedDevice, Capacity


@dataclass(slots=True)
class PluginEndpoint:
    """The plugin that answers for a resource."""

    client: PluginClient | None = None
    """None where the checkpoint knows the resource, and its plugin has not come back."""
    options: wire.DevicePluginOptions = field(default_factory=wire.DevicePluginOptions)
    stopped_at: float | None = None
    """Since when it is gone, by time.monotonic(); None while it is connected."""


class DeviceManager:
    """What one kubelet knows of plugins and devices, by resource name."""

    def __init__(self) -> None:
        self._endpoints: dict[str, PluginEndpoint] = {}
        self._devices: dict[str, dict[str, AdvertisedDevice]] = {}

    def restore(self, resource: str, now: float) -> None:
        """Know a resource from before the restart: with no device until its plugin comes back."""
        self._endpoints[resource] = PluginEndpoint(stopped_at=now)
        self._devices[resource] = {}

    def connected(self, resource: str, client: PluginClient, options: wire.DevicePluginOptions) -> None:
        """Let this plugin answer for the resource from now on; its devices are known once it lists them."""
        self._endpoints[resource] = PluginEndpoint(client, options)

    def listed(self, resource: str, devices: Iterable[AdvertisedDevice]) -> None:
        """Replace what is known of the resource's devices."""
        self._devices[resource] = {device.id: device for device in devices}

    def disconnected(self, resource: str, now: float) -> None:
        """Hold no device of the resource for healthy any more."""
        if endpoint := self._endpoints.get(resource):
            endpoint.stopped_at = now
            gone = self._devices.setdefault(resource, {})
            self._devices[resource] = {device.id: replace(device, healthy=False) for device in gone.values()}

    def forget(self, resource: str, stopped_at: float) -> bool:
        """Remove the resource, unless something has happened to its plugin since `stopped_at`; tell whether it went."""
        endpoint = self._endpoints.get(resource)
        if endpoint is None or endpoint.stopped_at != stopped_at:
            return False
        del self._endpoints[resource]
        del self._devices[resource]
        return True

    def endpoint(self, resource: str) -> PluginEndpoint | None:
        """Who answers for the resource."""
        return self._endpoints.get(resource)

    def devices(self, resource: str) -> list[AdvertisedDevice] | None:
        """The resource's devices in the order of its plugin's list, or None where it is not known."""
        devices = self._devices.get(resource)
        return None if devices is None else list(devices.values())

    def healthy(self) -> dict[str, list[AdvertisedDevice]]:
        """The healthy devices of every known resource."""
        return {
            resource: [device for device in devices.values() if device.healthy]
            for resource, devices in self._devices.items()
        }

    def capacity(self) -> dict[str, Capacity]:
        """How many devices the node has, of every known resource."""
        return {
            resource: Capacity(len(self._devices[resource]), len(healthy))
            for resource, healthy in self.healthy().items()
        }
