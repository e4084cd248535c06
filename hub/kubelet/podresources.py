"""A client of the kubelet's pod resources API, which knows which container uses which device."""

from collections.abc import Mapping
from pathlib import Path

import grpc.aio
from google.protobuf.message import DecodeError

from hub.kubelet.wire import podresources_pb2 as wire

TIMEOUT = 2.0
"""Seconds to wait for the response, which comes from the kubelet's memory."""

MESSAGE_BYTES = 16 * 1024 * 1024
"""The largest response accepted, as in the kubelet's own client."""

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
    """Return all devices that pods use; None if the API is disabled, not mounted, or its answer cannot be read."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", MESSAGE_BYTES)]
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=options) as channel:
        # Not by the generated stub: grpc would log an answer that cannot be decoded, and return nothing instead of it.
        serialize = wire.ListPodResourcesRequest.SerializeToString
        call = channel.unary_unary(_LIST, request_serializer=serialize, response_deserializer=bytes)
        try:
            content = await call(wire.ListPodResourcesRequest(), timeout=TIMEOUT)
            answer = wire.ListPodResourcesResponse.FromString(content)
        except (grpc.aio.AioRpcError, DecodeError):
            return None
    return {
        (devices.resource_name, name): f"{pod.namespace}/{pod.name}/{container.name}"
        for pod in answer.pod_resources
        for container in pod.containers
        for devices in container.devices
        for name in devices.device_ids
    }
