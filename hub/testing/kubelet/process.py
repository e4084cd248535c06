"""One run of the kubelet, from start to stop."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from hub.base.paths import KUBELET_SOCKET
from hub.kubelet.checkpoint import CHECKPOINT
from hub.kubelet.services import add_service
from hub.kubelet.wire import podresources_pb2_grpc, v1beta1_pb2_grpc
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.held import HeldDirectory
from hub.testing.kubelet import checkpoint
from hub.testing.kubelet.admission import Admission
from hub.testing.kubelet.client import PluginClient
from hub.testing.kubelet.clients import ClientsByName, ClientsBySocket
from hub.testing.kubelet.devices import DeviceManager
from hub.testing.kubelet.journal import Journal
from hub.testing.kubelet.model import AdvertisedDevice, ListUpdate, Pod, Registered
from hub.testing.kubelet.podresources import PodResources
from hub.testing.kubelet.registration import RegistrationService
from hub.testing.kubelet.server import UnixServer


@dataclass(frozen=True, slots=True)
class KubeletOptions:
    """The options of a fake kubelet; times in seconds."""

    plugin_dir: HeldDirectory
    pod_resources: HeldDirectory
    pod_resources_name: str
    """The name of the socket there."""
    dial_back_timeout: float
    pre_start_timeout: float
    stopped_endpoint_grace: float
    distinguishes_sockets: bool


class KubeletProcess:
    """What a crash ends: the state in memory, the servers, and all connections."""

    def __init__(self, settings: KubeletOptions, journal: Journal, pods: dict[str, Pod], number: int) -> None:
        self._settings = settings
        self._journal = journal
        self._pods = pods
        self._number = number
        self._checkpoint = settings.plugin_dir.descriptor_path / CHECKPOINT
        self._timers: list[asyncio.TimerHandle] = []
        self.manager = DeviceManager(distinguishes_sockets=settings.distinguishes_sockets)
        self.admission = Admission(self.manager, self._held, settings.pre_start_timeout)
        self._registration = RegistrationService(
            settings.plugin_dir,
            settings.dial_back_timeout,
            self,
            ClientsBySocket() if settings.distinguishes_sockets else ClientsByName(),
        )
        self._server = UnixServer(
            settings.plugin_dir.descriptor_path / KUBELET_SOCKET,
            lambda server: add_service(server, v1beta1_pb2_grpc.add_RegistrationServicer_to_server, self._registration),
        )
        self._pod_resources = UnixServer(
            settings.pod_resources.descriptor_path / settings.pod_resources_name,
            lambda server: add_service(
                server,
                podresources_pb2_grpc.add_PodResourcesListerServicer_to_server,
                PodResources(pods, self.manager.healthy),
            ),
        )

    async def start(self) -> None:
        """Start as a kubelet does: read the checkpoint, delete all sockets in the plugin directory, then listen."""
        self._restore()
        _delete_sockets(self._settings.plugin_dir.descriptor_path)
        await self._pod_resources.start()
        await self._server.start()

    async def stop(self, *, clean: bool) -> None:
        """Stop; leave the socket files unless `clean`."""
        self.admission.close()
        for timer in self._timers:
            timer.cancel()
        await self._registration.close()
        await self._server.stop(clean=clean)
        await self._pod_resources.stop(clean=clean)
        self._journal.changed()

    def socket_identity(self) -> int:
        """Return a descriptor that keeps the inode number of kubelet.sock from being reused."""
        return self._server.identity()

    def admitted(self, pod: Pod) -> None:
        """Add a pod that has received its devices."""
        self._pods[pod.key] = pod
        self.state_changed()

    def registered(self, request: wire.RegisterRequest, error: str) -> None:
        """Record a completed call to Register."""
        registration = Registered(request.resource_name, request.endpoint, self._number, time.monotonic(), error)
        self._journal.registrations.append(registration)
        self._journal.changed()

    def connected(self, resource: str, client: PluginClient, options: wire.DevicePluginOptions) -> None:
        """Set the plugin of a resource.

        Raises:
            PluginError: it is connected already.
        """
        self.manager.connected(resource, client, options)

    def listed(self, resource: str, response: wire.ListAndWatchResponse) -> None:
        """Store a plugin's list, and write the checkpoint, as a kubelet does for every message."""
        devices = tuple(AdvertisedDevice.read(device) for device in response.devices)
        self.manager.listed(resource, devices)
        update = ListUpdate(resource, time.monotonic(), devices, response.ByteSize(), self._number)
        self._journal.lists.append(update)
        self.state_changed()

    def disconnected(self, resource: str, client: PluginClient) -> None:
        """Mark the resource's devices as unhealthy, and remove them if their plugin does not come back."""
        now = time.monotonic()
        self.manager.disconnected(resource, client, now)
        self._forget_later(resource, now)
        self._journal.changed()

    async def removed(self, pod: Pod) -> None:
        """Free the devices of a pod that has been removed."""
        if pod.holds_devices:
            self.admission.recount()
        self.state_changed()

    def state_changed(self) -> None:
        """Write the checkpoint, and wake waiting tasks."""
        checkpoint.write(self._checkpoint, self.manager.healthy(), self._pods.values())
        self._journal.changed()

    def _restore(self) -> None:
        resources = checkpoint.restore(self._checkpoint, self._pods)
        now = time.monotonic()
        for resource in resources:
            self.manager.restore(resource, now)
            self._forget_later(resource, now)

    def _held(self, resource: str) -> set[str]:
        return {device for pod in self._pods.values() for device in pod.held(resource)}

    def _forget_later(self, resource: str, stopped_at: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(self._settings.stopped_endpoint_grace, self._forget, resource, stopped_at))

    def _forget(self, resource: str, stopped_at: float) -> None:
        if self.manager.forget(resource, stopped_at):
            self.state_changed()


def _delete_sockets(directory: Path) -> None:
    """Delete all sockets in the directory, including those that a process is listening on, and no other files."""
    for path in directory.iterdir():
        if path.is_socket():
            path.unlink(missing_ok=True)  # its plugin may remove it at the same moment
