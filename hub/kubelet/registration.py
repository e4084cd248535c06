"""A client of the kubelet's registration API."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc.aio

from hub.base.sockets import KubeletIdentity, kubelet_identity
from hub.kubelet.channel import CHANNEL_OPTIONS, unix_target
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import RegistrationStub

API_VERSION = "v1beta1"

REGISTER_TIMEOUT = 15.0
"""Seconds to wait for the kubelet's response. Before that, it calls the plugin back, with a timeout of 10 s."""


class KubeletUnavailable(Exception):
    """No process responds on the kubelet's socket."""


class RegistrationRejected(Exception):
    """The kubelet rejected the resource; the text is its reason."""


async def register(
    kubelet_socket: Path, kubelet: KubeletIdentity, endpoint: Path, resource: str, options: wire.DevicePluginOptions
) -> None:
    """Register a resource with one kubelet, never with the next one at the same path.

    Args:
        kubelet_socket: The kubelet's socket.
        kubelet: The kubelet.
        endpoint: The socket on which the resource is served, in the same directory.
        resource: The resource's name.
        options: The plugin's options. The kubelet asks for them again when it calls back, and uses those.

    Raises:
        KubeletUnavailable: no process responds yet, or there is another kubelet.
        RegistrationRejected: the kubelet rejected the resource.
    """
    request = wire.RegisterRequest(version=API_VERSION, endpoint=endpoint.name, resource_name=resource, options=options)
    with _opened(kubelet_socket, kubelet) as path:
        async with grpc.aio.insecure_channel(unix_target(path), options=CHANNEL_OPTIONS) as channel:
            try:
                await RegistrationStub(channel).Register(request, timeout=REGISTER_TIMEOUT)
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise KubeletUnavailable(f"{kubelet_socket} exists, but does not respond yet") from None
                raise RegistrationRejected(error.details() or error.code().name) from None


@contextmanager
def _opened(socket: Path, kubelet: KubeletIdentity) -> Iterator[Path]:
    """Yield a path of this kubelet's socket that never leads to another one.

    A connection by the socket's name may be made late, when the next kubelet is already listening there: that kubelet
    would get one registration too many.

    Raises:
        KubeletUnavailable: there is another kubelet, or none.
    """
    try:
        file = os.open(socket, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        raise KubeletUnavailable(f"there is no {socket}") from None
    try:
        path = Path(f"/proc/self/fd/{file}")
        if kubelet_identity(path) != kubelet:
            raise KubeletUnavailable(f"another kubelet has created {socket}")
        yield path
    finally:
        os.close(file)
