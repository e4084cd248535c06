"""A client of the kubelet's pod resources API, which reports which container uses which device."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import grpc.aio
from google.protobuf.message import DecodeError

from hub.kubelet.channel import CHANNEL_OPTIONS, is_message, unix_target
from hub.kubelet.wire import podresources_pb2 as wire

TIMEOUT = 2.0
"""Seconds to wait for the response, which comes from the kubelet's memory."""

MESSAGE_BYTES = 4 * 1024 * 1024
"""The largest response accepted: twice that of a node with a thousand pods and 16,384 devices. While it is decoded, the
smallest parts take forty times their size, so a broken kubelet can make the plugin use up to 200 MiB."""

MAX_ITEMS = 200_000
"""Maximum total number of pods, containers and lists of devices in a response: reading this many takes a fifth of a
second, but a message has room for millions. A node has about a thousand pods."""

MAX_DEVICES = 65_536
"""Maximum number of devices in a response. Each may be in the plugin's history and in its report; a node has at most
tens of thousands."""

MAX_BYTES = 8 << 20
"""The most bytes that the names of these devices and of their containers may have in total as JSON: both files must
stay smaller than `MAX_STATE`. On a node with 16,384 devices, the longest names take up 7 MiB."""

MAX_NAME = 253
"""The most characters that Kubernetes allows in the name of a namespace, a pod or a container."""

_LIST = "/v1.PodResourcesLister/List"

DeviceHolders = Mapping[tuple[str, str], str]
"""From resource and device id to "namespace/pod/container"."""


def pod_resources_socket(plugin_dir: Path) -> Path:
    """Return where the API is expected: next to the plugin directory.

    The kubelet serves it under its root directory, but the plugin directory does not move with it; with a different
    root directory, the API is mounted or linked here.
    """
    return plugin_dir.parent / "pod-resources" / "kubelet.sock"


async def list_holders(socket: Path) -> DeviceHolders | None:
    """Return all devices that pods use; None if the API is disabled, not mounted, or gives an invalid response."""
    options = [*CHANNEL_OPTIONS, ("grpc.max_receive_message_length", MESSAGE_BYTES)]
    async with grpc.aio.insecure_channel(unix_target(socket), options=options) as channel:
        # The generated stub is not used: grpc would log a response that cannot be decoded, and return nothing instead.
        serialize = wire.ListPodResourcesRequest.SerializeToString
        call = channel.unary_unary(_LIST, request_serializer=serialize, response_deserializer=bytes)
        try:
            content = await call(wire.ListPodResourcesRequest(), timeout=TIMEOUT)
            if not is_message(content):
                return None
            answer = wire.ListPodResourcesResponse.FromString(content)
            return dict(_holders(answer))
        except (grpc.aio.AioRpcError, DecodeError, _OddAnswer):
            return None


class _OddAnswer(Exception):
    """A response that no kubelet gives."""


def _holders(answer: wire.ListPodResourcesResponse) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield each device with its container.

    Raises:
        _OddAnswer: there are too many of something, or a name is too long.
    """
    items = 0
    room = _Budget()
    for pod in answer.pod_resources:
        items += 1 + len(pod.containers)
        for container in pod.containers:
            items += len(container.devices)
            names = pod.namespace, pod.name, container.name
            if items > MAX_ITEMS or max(map(len, names)) > MAX_NAME:
                raise _OddAnswer
            holder = "/".join(names)
            for devices in container.devices:
                for name in devices.device_ids:
                    room.take(devices.resource_name, name, holder)
                    yield (devices.resource_name, name), holder
        if items > MAX_ITEMS:
            raise _OddAnswer


class _Budget:
    """The space that is left for devices in the files of the plugin."""

    def __init__(self) -> None:
        self._devices = MAX_DEVICES
        self._bytes = MAX_BYTES
        self._size = lru_cache(maxsize=16)(_size)
        """The sizes of names that many devices have in common."""

    def take(self, resource: str, device: str, holder: str) -> None:
        """Reserve the space of a device.

        Raises:
            _OddAnswer: there is not enough.
        """
        self._devices -= 1
        self._bytes -= self._size(resource) + _size(device) + self._size(holder)
        if self._devices < 0 or self._bytes < 0:
            raise _OddAnswer


def _size(text: str) -> int:
    """Return how many bytes a string takes in a file, where an unprintable character takes up to 12."""
    return len(text.encode()) if text.isprintable() else 12 * len(text)
