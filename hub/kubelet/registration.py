"""One call of a kubelet's Register, and what its answer means."""

from pathlib import Path

import grpc.aio

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import RegistrationStub

API_VERSION = "v1beta1"

REGISTER_TIMEOUT = 15.0
"""Seconds to wait for the kubelet's answer. It calls back before it answers and gives itself 10 s for that."""


class KubeletUnavailable(Exception):
    """Nothing answers on the kubelet's socket."""


class RegistrationRejected(Exception):
    """The kubelet does not accept the resource; the text is its reason."""


async def register(kubelet_socket: Path, endpoint: Path, resource: str, options: wire.DevicePluginOptions) -> None:
    """Register a resource with a kubelet.

    Args:
        kubelet_socket: Where it listens.
        endpoint: The socket on which the resource is served, in the same directory.
        resource: The resource's name.
        options: What the plugin can do. The kubelet asks again when it calls back, and believes that.

    Raises:
        KubeletUnavailable: nothing answers there yet.
        RegistrationRejected: the kubelet does not accept it.
    """
    request = wire.RegisterRequest(version=API_VERSION, endpoint=endpoint.name, resource_name=resource, options=options)
    # A channel of its own: a shared one would wait between its attempts to connect.
    settings = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"unix:{kubelet_socket}", options=settings) as channel:
        try:
            await RegistrationStub(channel).Register(request, timeout=REGISTER_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise KubeletUnavailable(f"{kubelet_socket} is there, but nobody answers on it yet") from None
            raise RegistrationRejected(error.details() or error.code().name) from None
