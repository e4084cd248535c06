"""What a fake kubelet knows, as plain data: devices, pods, what came over the wire, and its two refusals."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hub.base.errors import HubError
from hub.kubelet.wire import v1beta1_pb2 as wire


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many devices of a resource the node has."""

    capacity: int
    """All that are advertised."""
    allocatable: int
    """The healthy ones, whether held by a pod or not."""


@dataclass(frozen=True, slots=True)
class AdvertisedDevice:
    """One device as its plugin listed it."""

    id: str
    healthy: bool
    numa: tuple[int, ...] = ()

    @classmethod
    def read(cls, device: wire.Device) -> "AdvertisedDevice":
        """The device in a plugin's list; any health but "Healthy" is none."""
        return cls(device.ID, device.health == "Healthy", tuple(node.ID for node in device.topology.nodes))


@dataclass(frozen=True, slots=True)
class Registered:
    """One answered call of Register."""

    resource: str
    endpoint: str
    """The socket's file name, as the plugin gave it."""
    start: int
    """Which start of the kubelet answered; the first is 1."""
    time: float
    """When it was answered, by time.monotonic()."""
    error: str = ""
    """The kubelet's words of refusal; empty when accepted."""


@dataclass(frozen=True, slots=True)
class ListUpdate:
    """One ListAndWatch message."""

    resource: str
    time: float
    """When it came, by time.monotonic()."""
    devices: tuple[AdvertisedDevice, ...]
    size: int
    """Bytes on the wire; a kubelet takes at most 4 MiB."""
    start: int
    """Which start of the kubelet received it; the first is 1."""


@dataclass(frozen=True, slots=True)
class ContainerMount:
    """A path of the host that a container sees."""

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
    """What a container gets for its devices, over all its resources."""

    envs: Mapping[str, str]
    mounts: tuple[ContainerMount, ...]
    devices: tuple[ContainerDevice, ...]
    annotations: Mapping[str, str]
    cdi_devices: tuple[str, ...]

    @classmethod
    def merge(cls, responses: Iterable[wire.ContainerAllocateResponse]) -> "ContainerResponse":
        """Put the plugins' answers together; where two disagree, the kubelet keeps the first."""
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
    """The devices of one resource that a container holds, and what the plugin said about them."""

    devices: tuple[AdvertisedDevice, ...]
    response: wire.ContainerAllocateResponse


@dataclass(slots=True)
class Container:
    """One container of an admitted pod."""

    name: str
    allocations: dict[str, ContainerAllocation] = field(default_factory=dict)
    """By resource, in the order in which they were allocated."""
    started: bool = False
    """Whether the last attempt to start it succeeded."""
    error: str = ""
    """What kept it from starting at the last attempt."""

    @property
    def devices(self) -> dict[str, list[str]]:
        """The ids that it holds, by resource."""
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
        """Namespace and name, which no two pods share."""
        return f"{self.namespace}/{self.name}"

    @property
    def holds_devices(self) -> bool:
        """Whether any of its containers holds a device."""
        return any(container.allocations for container in self.containers.values())

    def held(self, resource: str) -> set[str]:
        """The ids of this resource's devices that its containers hold."""
        return {
            device.id
            for container in self.containers.values()
            if resource in container.allocations
            for device in container.allocations[resource].devices
        }


class AdmissionError(HubError):
    """The pod was refused for good, as a pod's status shows it."""

    reason = "UnexpectedAdmissionError"

    def __init__(self, pod: Pod, cause: str) -> None:
        self.pod = pod
        self.message = f"Allocate failed due to {cause}, which is unexpected"
        super().__init__(f"pod {pod.key}: {self.reason}: {self.message}")


class ContainerStartError(HubError):
    """A container of an admitted pod did not start; the pod keeps its devices, and the start can be tried again."""

    def __init__(self, pod: Pod, container: Container) -> None:
        self.pod = pod
        self.container = container
        self.message = container.error
        super().__init__(f"pod {pod.key}, container {container.name}: {container.error}")
