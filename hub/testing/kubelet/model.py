"""The data of a fake kubelet: devices, pods, messages from plugins, and its errors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hub.base.errors import HubError
from hub.kubelet.wire import v1beta1_pb2 as wire

_OBJECT_BYTES = 192
"""More than a message or a device takes in memory, apart from its text."""
_CHARACTER_BYTES = 4
"""What a character takes in memory if any in its text is an emoji; no byte on the wire takes more."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The number of a resource's devices on the node."""

    capacity: int
    """All advertised devices."""
    allocatable: int
    """The healthy devices, whether or not a pod uses them."""


@dataclass(frozen=True, slots=True)
class AdvertisedDevice:
    """A device in a plugin's list."""

    id: str
    healthy: bool
    numa: tuple[int, ...] = ()

    @classmethod
    def read(cls, device: wire.Device) -> "AdvertisedDevice":
        """Convert a device of the wire format; only the health "Healthy" counts as healthy."""
        return cls(device.ID, device.health == "Healthy", tuple(node.ID for node in device.topology.nodes))


@dataclass(frozen=True, slots=True)
class Registered:
    """A completed call to Register."""

    resource: str
    endpoint: str
    """The file name of the socket, as the plugin sent it."""
    start: int
    """Which start of the kubelet this was, counting from 1."""
    time: float
    """When the call completed, by time.monotonic()."""
    error: str = ""
    """Why the kubelet rejected it; empty if accepted."""

    @property
    def memory(self) -> int:
        """Maximum number of bytes that it takes up in memory."""
        return _OBJECT_BYTES + _CHARACTER_BYTES * (len(self.resource) + len(self.endpoint) + len(self.error))


@dataclass(frozen=True, slots=True)
class ListUpdate:
    """A ListAndWatch message."""

    resource: str
    time: float
    """When it arrived, by time.monotonic()."""
    devices: tuple[AdvertisedDevice, ...]
    size: int
    """Bytes on the wire; a kubelet accepts at most 4 MiB."""
    start: int
    """Which start of the kubelet this was, counting from 1."""

    @property
    def memory(self) -> int:
        """The maximum number of bytes that it takes up in memory; an empty device takes 2 bytes on the wire."""
        return _OBJECT_BYTES * (1 + len(self.devices)) + _CHARACTER_BYTES * self.size


@dataclass(frozen=True, slots=True)
class ContainerMount:
    """A path on the node that is mounted into a container."""

    container_path: str
    host_path: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class ContainerDevice:
    """A device file that a container may use."""

    container_path: str
    host_path: str
    permissions: str


@dataclass(frozen=True, slots=True)
class ContainerResponse:
    """What a container gets for its devices of all resources."""

    envs: Mapping[str, str]
    mounts: tuple[ContainerMount, ...]
    devices: tuple[ContainerDevice, ...]
    annotations: Mapping[str, str]
    cdi_devices: tuple[str, ...]

    @classmethod
    def merge(cls, responses: Iterable[wire.ContainerAllocateResponse]) -> "ContainerResponse":
        """Merge the plugins' responses; in a conflict, the kubelet keeps the first value."""
        envs: dict[str, str] = {}
        mounts: dict[str, ContainerMount] = {}
        devices: dict[str, ContainerDevice] = {}
        annotations: dict[str, str] = {}
        cdi: dict[str, None] = {}
        for response in responses:
            envs = {**response.envs, **envs}
            annotations = {**response.annotations, **annotations}
            for mount in response.mounts:
                found = ContainerMount(mount.container_path, mount.host_path, mount.read_only)
                mounts.setdefault(mount.container_path, found)
            for device in response.devices:
                node = ContainerDevice(device.container_path, device.host_path, device.permissions)
                devices.setdefault(device.container_path, node)
            cdi.update(dict.fromkeys(device.name for device in response.cdi_devices))
        return cls(envs, tuple(mounts.values()), tuple(devices.values()), annotations, tuple(cdi))


@dataclass(frozen=True, slots=True)
class ContainerAllocation:
    """A container's devices of one resource, with the plugin's response."""

    devices: tuple[AdvertisedDevice, ...]
    response: wire.ContainerAllocateResponse


@dataclass(frozen=True, slots=True)
class DynamicResource:
    """A container's device of a claim, as the pod resources API shows it."""

    claim: str
    namespace: str
    driver: str
    pool: str
    device: str
    cdi_devices: tuple[str, ...]


@dataclass(slots=True)
class Container:
    """A container of an admitted pod."""

    name: str
    allocations: dict[str, ContainerAllocation] = field(default_factory=dict)
    """Keyed by resource, in the order in which they were allocated."""
    dynamic: list[DynamicResource] = field(default_factory=list)
    """Its devices of claims."""
    started: bool = False
    """Whether the last attempt to start it succeeded."""
    error: str = ""
    """Why the last attempt to start it failed."""

    @property
    def devices(self) -> dict[str, list[str]]:
        """The ids of its devices, by resource."""
        return {
            resource: [device.id for device in allocation.devices] for resource, allocation in self.allocations.items()
        }

    @property
    def response(self) -> ContainerResponse:
        """What it gets for its devices."""
        return ContainerResponse.merge(allocation.response for allocation in self.allocations.values())


@dataclass(slots=True)
class Pod:
    """An admitted pod."""

    name: str
    namespace: str
    containers: dict[str, Container] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The namespace and name, which identify a pod."""
        return f"{self.namespace}/{self.name}"

    @property
    def holds_devices(self) -> bool:
        """Whether any of its containers has a device."""
        return any(container.allocations for container in self.containers.values())

    def held(self, resource: str) -> set[str]:
        """Return the ids of the resource's devices that its containers have."""
        return {
            device.id
            for container in self.containers.values()
            if resource in container.allocations
            for device in container.allocations[resource].devices
        }


class AdmissionError(HubError):
    """The pod was rejected permanently, with the text of the pod's status."""

    reason = "UnexpectedAdmissionError"

    def __init__(self, pod: Pod, cause: str) -> None:
        self.pod = pod
        self.message = f"Allocate failed due to {cause}, which is unexpected"
        super().__init__(f"pod {pod.key}: {self.reason}: {self.message}")


class ContainerStartError(HubError):
    """A container of an admitted pod did not start; the pod keeps its devices, and the start can be retried."""

    def __init__(self, pod: Pod, container: Container) -> None:
        self.pod = pod
        self.container = container
        self.message = container.error
        super().__init__(f"pod {pod.key}, container {container.name}: {container.error}")
