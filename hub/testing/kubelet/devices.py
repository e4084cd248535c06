"""The state of the device manager: the plugin and the devices of each resource. No input or output."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet.client import PluginClient, PluginError
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
    """The plugins and devices that one kubelet knows, by resource.

    Args:
        distinguishes_sockets: Whether a resource can have several plugins, each with its own socket, as since 1.37.
    """

    def __init__(self, *, distinguishes_sockets: bool = False) -> None:
        self._distinguishes_sockets = distinguishes_sockets
        self._endpoints: dict[str, PluginEndpoint] = {}
        self._by_socket: dict[str, dict[str, PluginEndpoint]] = {}
        self._devices: dict[str, dict[str, AdvertisedDevice]] = {}
        # Ids in the order of the list. An id that a list repeats can be in both.
        self._healthy: dict[str, dict[str, None]] = {}
        self._unhealthy: dict[str, dict[str, None]] = {}

    def restore(self, resource: str, now: float) -> None:
        """Add a resource from before the restart, without devices until its plugin registers again."""
        self._endpoints[resource] = PluginEndpoint(stopped_at=now)
        self.listed(resource, ())

    def connected(self, resource: str, client: PluginClient, options: wire.DevicePluginOptions) -> None:
        """Set the plugin of a resource; its devices are known once the plugin lists them.

        Raises:
            PluginError: a plugin of the resource is connected on the same socket.
        """
        endpoint = PluginEndpoint(client, options)
        if self._distinguishes_sockets:
            sockets = self._by_socket.setdefault(resource, {})
            if client.socket in sockets:
                raise PluginError(f"device plugin already connected: {client.socket}")
            sockets[client.socket] = endpoint
        self._endpoints[resource] = endpoint

    def listed(self, resource: str, devices: Sequence[AdvertisedDevice]) -> None:
        """Replace the resource's devices."""
        self._devices[resource] = {device.id: device for device in devices}
        self._healthy[resource] = {device.id: None for device in devices if device.healthy}
        self._unhealthy[resource] = {device.id: None for device in devices if not device.healthy}

    def disconnected(self, resource: str, client: PluginClient, now: float) -> None:
        """Mark all devices of the resource as unhealthy, unless another of its plugins is connected."""
        if not self._distinguishes_sockets:
            ended = self._endpoints.get(resource)
        else:
            ended = self._by_socket.get(resource, {}).pop(client.socket, None)
        if ended is None:
            return
        ended.stopped_at = now
        if left := self._by_socket.get(resource):
            # A real kubelet takes any of them.
            self._endpoints[resource] = next(iter(left.values()))
            return
        self._unhealthy.setdefault(resource, {}).update(self._healthy.get(resource, {}))
        if resource in self._healthy:
            self._healthy[resource] = {}

    def forget(self, resource: str, stopped_at: float) -> bool:
        """Remove the resource, unless its plugin has changed since `stopped_at`; return whether it was removed."""
        endpoint = self._endpoints.get(resource)
        if endpoint is None or endpoint.stopped_at != stopped_at:
            return False
        del self._endpoints[resource]
        for known in (self._devices, self._healthy, self._unhealthy):
            known.pop(resource, None)
        return True

    def endpoint(self, resource: str) -> PluginEndpoint | None:
        """Return the plugin of the resource."""
        return self._endpoints.get(resource)

    def devices(self, resource: str) -> list[AdvertisedDevice] | None:
        """Return the resource's devices in the order of its plugin's list; None if the resource is unknown."""
        if resource not in self._unhealthy:
            return None
        devices = self._devices.get(resource, {}).values()
        return list(devices) if self._healthy.get(resource) else [replace(each, healthy=False) for each in devices]

    def healthy(self) -> dict[str, list[AdvertisedDevice]]:
        """Return the healthy devices of every resource that has listed devices."""
        return {
            resource: [self._devices[resource][device] for device in healthy]
            for resource, healthy in self._healthy.items()
        }

    def capacity(self) -> dict[str, Capacity]:
        """Return the number of devices of every resource."""
        counts = {
            name: (len(self._healthy.get(name, ())), len(unhealthy)) for name, unhealthy in self._unhealthy.items()
        }
        return {name: Capacity(healthy + unhealthy, healthy) for name, (healthy, unhealthy) in counts.items()}
