"""Who holds which device, asked from the kubelet's pod resources API."""

from collections.abc import Mapping
from pathlib import Path

import grpc.aio

from hub.kubelet.wire import podresources_pb2 as wire
from hub.kubelet.wire.podresources_pb2_grpc import PodResourcesListerStub

TIMEOUT = 2.0
"""Seconds to wait for the answer, which comes from the kubelet's memory."""

MESSAGE_BYTES = 16 * 1024 * 1024
"""The longest answer taken, as in the kubelet's own client."""

DeviceHolders = Mapping[tuple[str, str], str]
"""Resource and device id to "namespace/pod/container"."""


def pod_resources_socket(plugin_dir: Path) -> Path:
    """Where the API is expected: beside the plugin directory.

    A kubelet serves it below its root, which the plugin directory does not follow; with another root it is mounted, or
    linked, here.
    """
    return plugin_dir.parent / "pod-resources" / "kubelet.sock"


async def list_holders(socket: Path) -> DeviceHolders | None:
    """Every device that a pod holds, or None where nobody can tell: the API is off, not mounted, or does not answer."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", MESSAGE_BYTES)]
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=options) as channel:
        try:
            answer = await PodResourcesListerStub(channel).List(wire.ListPodResourcesRequest(), timeout=TIMEOUT)
        except grpc.aio.AioRpcError:
            return None
    return {
        (devices.resource_name, name): f"{pod.namespace}/{pod.name}/{container.name}"
        for pod in answer.pod_resources
        for container in pod.containers
        for devices in container.devices
        for name in devices.device_ids
    }
