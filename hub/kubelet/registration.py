"""A client of the kubelet's registration API."""

from pathlib import Path

import grpc.aio

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import RegistrationStub

API_VERSION = "v1beta1"

REGISTER_TIMEOUT = 15.0
"""Seconds to wait for the kubelet's response. Before that, it calls back the plugin, with a timeout of 10 s."""


class KubeletUnavailable(Exception):
    """No process responds on the kubelet's socket."""


class RegistrationRejected(Exception):
    """The kubelet rejected the resource; the text is its reason."""


async def register(kubelet_socket: Path, endpoint: Path, resource: str, options: wire.DevicePluginOptions) -> None:
    """Register a resource with a kubelet.

    Args:
        kubelet_socket: The kubelet's socket.
        endpoint: The socket on which the resource is served, in the same directory.
        resource: The resource's name.
        options: The plugin's options. The kubelet asks for them again when it calls back, and uses those.

    Raises:
        KubeletUnavailable: no process responds yet.
        RegistrationRejected: the kubelet rejected the resource.
    """
    request = wire.RegisterRequest(version=API_VERSION, endpoint=endpoint.name, resource_name=resource, options=options)
    # A separate channel: a shared one would wait between its attempts to connect.
    settings = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"unix:{kubelet_socket}", options=settings) as channel:
        try:
            await RegistrationStub(channel).Register(request, timeout=REGISTER_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise KubeletUnavailable(f"{kubelet_socket} exists, but does not respond yet") from None
            raise RegistrationRejected(error.details() or error.code().name) from None
