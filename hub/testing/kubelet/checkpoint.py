"""The file that keeps a device manager's state across restarts: kubelet_internal_checkpoint in the plugin directory.

The format is the kubelet's own (pkg/kubelet/cm/devicemanager/checkpoint), but without a checksum, and with the
namespace and name of a pod instead of its UID.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from hub.base.jsonfile import read_file, replace_bytes
from hub.base.log import get_logger
from hub.base.untrusted import UnreadableError
from hub.kubelet.checkpoint import NO_NUMA_NODE
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet.model import AdvertisedDevice, Container, ContainerAllocation, Pod


class _Entry(msgspec.Struct, rename="pascal"):
    pod: str = msgspec.field(name="PodUID")
    container_name: str
    resource_name: str
    device_ids: dict[int, list[str]] = msgspec.field(name="DeviceIDs")
    alloc_resp: bytes | None


class _Data(msgspec.Struct, rename="pascal"):
    """The data of a checkpoint; a kubelet writes null for an empty list or mapping."""

    pod_device_entries: list[_Entry] | None
    registered_devices: dict[str, list[str] | None]


class _Checkpoint(msgspec.Struct, rename="pascal"):
    data: _Data


def write(path: Path, healthy: Mapping[str, Iterable[AdvertisedDevice]], pods: Iterable[Pod]) -> None:
    """Replace the checkpoint."""
    entries = [
        _Entry(pod.key, container.name, resource, _by_node(found.devices), found.response.SerializeToString())
        for pod in pods
        for container in pod.containers.values()
        for resource, found in container.allocations.items()
    ]
    registered: dict[str, list[str] | None] = {
        resource: [device.id for device in devices] for resource, devices in healthy.items()
    }
    replace_bytes(path, msgspec.json.encode(_Checkpoint(_Data(entries, registered))), mode=0o600)


def read(path: Path) -> tuple[list[str], dict[str, Pod]]:
    """Return the known resources and the pods with devices, by key; empty if there is no checkpoint.

    Raises:
        UnreadableError: the file is not a checkpoint.
    """
    checkpoint = read_file(path, _Checkpoint)
    if checkpoint is None:
        return [], {}
    data = checkpoint.data
    pods: dict[str, Pod] = {}
    for entry in data.pod_device_entries or ():
        namespace, _, name = entry.pod.partition("/")
        pod = pods.setdefault(entry.pod, Pod(name, namespace))
        container = pod.containers.setdefault(entry.container_name, Container(entry.container_name, started=True))
        response = wire.ContainerAllocateResponse.FromString(entry.alloc_resp or b"")
        container.allocations[entry.resource_name] = ContainerAllocation(_devices(entry.device_ids), response)
    return list(data.registered_devices), pods


def restore(path: Path, pods: dict[str, Pod]) -> list[str]:
    """Return the known resources, and keep the pods whose devices are in the checkpoint, and those without devices.

    Pods belong to the cluster, and continue without a kubelet; only the checkpoint contains their devices.
    """
    try:
        resources, known = read(path)
    except UnreadableError as error:
        get_logger().warning("checkpoint ignored", path=str(path), error=str(error))
        resources, known = [], {}
    kept = {key: pod for key, pod in pods.items() if key in known or not pod.holds_devices}
    pods.clear()
    pods.update({**known, **kept})
    return resources


def _by_node(devices: Iterable[AdvertisedDevice]) -> dict[int, list[str]]:
    ids: dict[int, list[str]] = {}
    for device in devices:
        for node in device.numa or (NO_NUMA_NODE,):
            ids.setdefault(node, []).append(device.id)
    return ids


def _devices(by_node: Mapping[int, Iterable[str]]) -> tuple[AdvertisedDevice, ...]:
    nodes: dict[str, list[int]] = {}
    for node, ids in by_node.items():
        for device in ids:
            nodes.setdefault(device, []).extend([] if node == NO_NUMA_NODE else [node])
    return tuple(AdvertisedDevice(device, healthy=True, numa=tuple(numa)) for device, numa in nodes.items())
