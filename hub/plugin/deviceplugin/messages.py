"""What is sent to the kubelet: device lists and allocations, as messages of the device plugin API."""

from os import fspath
from typing import NamedTuple

from hub.api.device import Allocation
from hub.base.log import get_logger
from hub.base.wording import counted
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2 import ListAndWatchResponse
from hub.plugin.devices.devicelist import DeviceList
from hub.plugin.devices.resource import ResourceDevices
from hub.plugin.devices.validation import validate_allocation, wrong_answer

MESSAGE_BYTES = 4 * 1024 * 1024
"""Maximum size in bytes of a message that the kubelet's gRPC client receives (grpc-go's default)."""

HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"
"""The values of `Device.health` in the API."""

_FRAME_BYTES = 4
"""Bytes before a device in the list: a tag of one byte, and a length of at most three, since no device takes 2 MiB."""


class ListMessage(NamedTuple):
    """A device list, encoded."""

    message: ListAndWatchResponse
    omitted: frozenset[str] = frozenset()
    """The ids of the devices that do not fit in the message."""

    @property
    def problem(self) -> str:
        """Why devices are omitted; empty if none are."""
        if not self.omitted:
            return ""
        omitted = counted(len(self.omitted), "device")
        return f"{omitted} left out: the list would exceed the kubelet's limit of {MESSAGE_BYTES} bytes"


def encode_list(devices: DeviceList) -> ListMessage:
    """Encode a list. Devices beyond the kubelet's limit are omitted, regardless of their health."""
    message = ListAndWatchResponse()
    omitted: set[str] = set()
    room = MESSAGE_BYTES
    # Devices that containers hold come first: they must not be among those that are omitted. But half of the space is
    # reserved for those that the plugin offers, since a faulty kubelet may name any number of others.
    for name, device in {**devices.departing, **devices.devices}.items():
        is_offered = name in devices.devices
        # Measured as if the device were unhealthy: a list that fits must still fit when all its devices are unhealthy.
        encoded = message.devices.add(ID=name, health=UNHEALTHY)
        for node in device.numa:
            encoded.topology.nodes.add(ID=node)
        left = room - encoded.ByteSize() - _FRAME_BYTES
        if left < (0 if is_offered else MESSAGE_BYTES // 2):
            omitted.add(name)
            del message.devices[-1]
            continue
        room = left
        if is_offered and devices.is_healthy(name):
            encoded.health = HEALTHY
    return ListMessage(message, frozenset(omitted))


class ListEncoder:
    """Encodes the lists of one resource, each version only once for all streams and readers."""

    def __init__(self, devices: ResourceDevices) -> None:
        self._devices = devices
        self._encoded = ListMessage(ListAndWatchResponse())
        self._version = -1
        self._log = get_logger(resource=devices.name)

    def latest(self) -> ListMessage:
        """Return the current list, encoded."""
        devices = self._devices.list
        if devices.version != self._version:
            before, self._encoded, self._version = self._encoded, encode_list(devices), devices.version
            if self._encoded.problem not in ("", before.problem):
                self._log.error("devices omitted", reason=self._encoded.problem)
        return self._encoded


def encode_allocation(allocation: object) -> wire.ContainerAllocateResponse:
    """Validate and encode what a plugin returned for a container.

    Raises:
        TypeError: it is not a valid allocation.
        ValueError: it exceeds the kubelet's limit, so that the container would not start.
    """
    if not isinstance(allocation, Allocation):
        raise wrong_answer(allocation, "a hub.Allocation: return Allocation(nodes=[...], env={...})")
    if problem := validate_allocation(allocation):
        raise TypeError(problem)
    response = _response(allocation)
    # The kubelet allocates for one container at a time.
    if (size := wire.AllocateResponse(container_responses=[response]).ByteSize()) > MESSAGE_BYTES:
        raise ValueError(
            f"it returned an Allocation of {size} bytes, expected at most {MESSAGE_BYTES}, which is the kubelet's limit"
        )
    return response


def _response(allocation: Allocation) -> wire.ContainerAllocateResponse:
    return wire.ContainerAllocateResponse(
        envs=dict(allocation.env),
        mounts=[
            wire.Mount(
                container_path=fspath(mount.container_path),
                host_path=fspath(mount.host_path),
                read_only=mount.read_only,
            )
            for mount in allocation.mounts
        ],
        devices=[
            wire.DeviceSpec(
                container_path=fspath(node.container_path),
                host_path=fspath(node.host_path),
                permissions=node.permissions,
            )
            for node in allocation.nodes
        ],
        annotations=dict(allocation.annotations),
        cdi_devices=[wire.CDIDevice(name=name) for name in allocation.cdi],
    )
