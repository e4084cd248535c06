"""Calls to the plugin under test."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc.aio

from hub.kubelet.channel import CHANNEL_OPTIONS, is_message, unix_target
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginStub
from hub.testing.held import HeldSocket

if TYPE_CHECKING:
    from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginAsyncStub

_MAX_BYTES = 8 * 1024 * 1024
"""Maximum size in bytes of a response. A kubelet accepts 4 MiB; a longer list is received, so that its devices can be
counted. In memory, a message can take fifty times its size."""

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    # As a kubelet does; some servers reject a request with a path as its authority.
    ("grpc.default_authority", "localhost"),
    ("grpc.max_receive_message_length", _MAX_BYTES),
    *CHANNEL_OPTIONS,
)

NO_MESSAGE = "it is not a message of the API"
"""The error for a response that gRPC cannot decode."""

_UNREACHABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Answer(Generic[M]):
    """The response to one call: a message or an error."""

    seconds: float
    """How long it took."""
    message: M | None = None
    code: grpc.StatusCode | None = None
    """The code of the error."""
    error: str = ""
    """The code and the text of the error; empty if there is a message."""

    @property
    def is_unimplemented(self) -> bool:
        """Whether the plugin does not implement the call."""
        return self.code is grpc.StatusCode.UNIMPLEMENTED


@asynccontextmanager
async def connected(socket: Path) -> AsyncIterator["DevicePluginAsyncStub"]:
    """Connect to a plugin's socket, with a connection that no other client shares.

    Raises:
        OSError: there is no socket.
    """
    with HeldSocket(socket) as held:
        async with grpc.aio.insecure_channel(unix_target(held.descriptor_path), options=_OPTIONS) as channel:
            yield DevicePluginStub(channel)


async def answer_of(call: "grpc.aio.UnaryUnaryCall[Any, M]") -> Answer[M]:
    """Wait for the response to a call, or for the call's deadline."""
    begin = time.monotonic()
    try:
        message = await call
    except grpc.aio.AioRpcError as error:
        took = time.monotonic() - begin
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and took > 1:
            return Answer(took, code=error.code(), error=f"no response within {took:.0f} s")
        return Answer(took, code=error.code(), error=f"{error.code().name}: {error.details() or 'no text'}")
    if not is_message(message):
        return Answer(time.monotonic() - begin, code=grpc.StatusCode.INTERNAL, error=NO_MESSAGE)
    return Answer(time.monotonic() - begin, message)


async def answers(socket: Path, limit: float) -> bool:
    """Return whether a plugin is serving on a socket; an error is a response too."""
    try:
        async with connected(socket) as stub:
            found = await answer_of(stub.GetDevicePluginOptions(wire.Empty(), timeout=limit))
    except OSError:
        return False
    return found.code not in _UNREACHABLE
