"""The kubelet's connection to one plugin."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import grpc.aio

from hub.kubelet.channel import CHANNEL_OPTIONS, is_message, unix_target
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire import v1beta1_pb2_grpc as rpc
from hub.testing.held import HeldSocket

MAX_RECEIVED_BYTES = 4 * 1024 * 1024
"""Maximum size in bytes of a message that Go's gRPC, and therefore a kubelet, accepts."""

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MAX_RECEIVED_BYTES),
    ("grpc.default_authority", "localhost"),
    *CHANNEL_OPTIONS,
)

_POLL_SECONDS = 0.02
"""Seconds between checks of whether a plugin has created its socket, or another one."""

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class PluginError(Exception):
    """A failed call to a plugin, with the kubelet's text."""


class _NotSentError(PluginError):
    """The connection was closed before the call was sent."""


class EmptyAnswerError(PluginError):
    """A response to Allocate without a container."""


class PluginClient:
    """Calls a plugin on its socket, between `dial` and `close`.

    Args:
        socket: The path of the socket, as a kubelet writes it.
        descriptor_path: The path by which to reach it.
    """

    def __init__(self, socket: str, descriptor_path: Path) -> None:
        self.socket = socket
        self._descriptor_path = descriptor_path
        self._connection: _Connection | None = None
        self._calls: set[grpc.aio.Call] = set()
        self._given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.dialled = False
        self.closed = False

    async def dial(self, timeout: float) -> None:  # noqa: ASYNC109 - a setting of the kubelet, not of the caller
        """Connect, and retry for `timeout` seconds. A link is not followed, whenever it is put there.

        Raises:
            PluginError: no process answered in time, or the caller gave up.
        """
        try:
            async with asyncio.timeout(timeout):
                while not (self.dialled or self._given_up.done()):
                    await self._try_to_dial()
        except TimeoutError:
            raise PluginError("failed to dial device plugin: context deadline exceeded") from None
        if not self.dialled:
            raise PluginError("failed to dial device plugin: context canceled")

    async def _try_to_dial(self) -> None:
        """Connect to the socket that is there now; return once connected, or if there is no socket or it is gone."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        try:
            self._connection = _Connection(self._descriptor_path)
        except OSError:
            await asyncio.wait([self._given_up], timeout=_POLL_SECONDS)
            return
        dialling: asyncio.Future[None] = asyncio.ensure_future(self._connection.channel.channel_ready())
        ends = [dialling, self._given_up]
        try:
            while self._connection.socket.is_in_place and not any(end.done() for end in ends):
                await asyncio.wait(ends, timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            self.dialled = dialling.done()
        finally:
            dialling.cancel()
            await asyncio.wait([dialling])

    def give_up(self) -> None:
        """End the attempt to connect, and the call for the options."""
        if not self._given_up.done():
            self._given_up.set_result(None)

    async def options(self) -> wire.DevicePluginOptions:
        """Return the plugin's options; without a deadline.

        Raises:
            PluginError: the plugin returned an error, or the caller gave up.
        """
        asking = asyncio.ensure_future(self._answer(self._stub.GetDevicePluginOptions(wire.Empty())))
        ends: list[asyncio.Future[Any]] = [asking, self._given_up]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not asking.done():
                asking.cancel()
        try:
            return await asking
        except PluginError as error:
            raise PluginError(f"failed to get device plugin options: {error}") from None
        except asyncio.CancelledError:
            if not self._given_up.done():
                raise
            canceled = "rpc error: code = Canceled desc = context canceled"
            raise PluginError(f"failed to get device plugin options: {canceled}") from None

    async def lists(self) -> AsyncIterator[wire.ListAndWatchResponse]:
        """Yield the plugin's lists until the stream ends, for any reason."""
        if self.closed:
            return
        call = self._stub.ListAndWatch(wire.Empty())
        self._calls.add(call)
        try:
            async for response in call:
                if not is_message(response):
                    return
                yield response
        except grpc.aio.AioRpcError:
            return
        except asyncio.CancelledError:
            if not self._closed_by_us():
                raise
        finally:
            self._calls.discard(call)
            call.cancel()

    async def preferred(self, available: Sequence[str], required: Sequence[str], size: int) -> list[str]:
        """Return the available devices that the plugin prefers, possibly none; without a deadline."""
        container = wire.ContainerPreferredAllocationRequest(
            available_deviceIDs=available, must_include_deviceIDs=required, allocation_size=size
        )
        request = wire.PreferredAllocationRequest(container_requests=[container])
        answer = await self._call(lambda stub: stub.GetPreferredAllocation(request))
        return list(answer.container_responses[0].deviceIDs) if answer.container_responses else []

    async def allocate(self, ids: Sequence[str]) -> wire.ContainerAllocateResponse:
        """Return what a container gets for these devices; without a deadline."""
        request = wire.AllocateRequest(container_requests=[wire.ContainerAllocateRequest(devices_ids=ids)])
        answer = await self._call(lambda stub: stub.Allocate(request))
        if not answer.container_responses:
            raise EmptyAnswerError("no containers return in allocation response")
        return answer.container_responses[0]

    async def pre_start(self, ids: Sequence[str], timeout: float) -> None:  # noqa: ASYNC109 - becomes the call's deadline
        """Notify the plugin that a container is about to start with these devices."""
        request = wire.PreStartContainerRequest(devices_ids=ids)
        await self._call(lambda stub: stub.PreStartContainer(request, timeout=timeout))

    async def _call(
        self, start: "Callable[[rpc.DevicePluginAsyncStub], grpc.aio.UnaryUnaryCall[_Request, _Answer]]"
    ) -> _Answer:
        """Call the process that serves the socket now; Go's gRPC retries a call that was not sent."""
        await self._reconnect()
        with suppress(_NotSentError):
            return await self._answer(start(self._stub))
        await self._reconnect()
        return await self._answer(start(self._stub))

    async def _reconnect(self) -> None:
        """Connect to the socket that has replaced a dead one, as a kubelet does, but not through a link."""
        connection = self._connection
        if self.closed or connection is None or connection.is_alive or connection.socket.is_in_place:
            return
        try:
            self._connection = _Connection(self._descriptor_path)
        except OSError:
            return
        await connection.close()

    async def close(self) -> None:
        """Close the connection and cancel all its calls."""
        self.closed = True
        for call in self._calls:
            call.cancel()
        if self._connection is not None:
            await self._connection.close()

    @property
    def _stub(self) -> "rpc.DevicePluginAsyncStub":
        if self._connection is None:
            raise PluginError("failed to dial device plugin: not connected")
        return self._connection.stub

    async def _answer(self, call: "grpc.aio.UnaryUnaryCall[_Request, _Answer]") -> _Answer:
        self._calls.add(call)
        try:
            answer = await call
            if not is_message(answer):
                raise PluginError("rpc error: code = Internal desc = grpc: failed to unmarshal the received message")
        except grpc.aio.AioRpcError as error:
            text = f"rpc error: code = {_go_name(error.code())} desc = {error.details()}"
            if os.strerror(errno.EPIPE) in (error.details() or ""):
                raise _NotSentError(text) from None
            raise PluginError(text) from None
        except asyncio.CancelledError:
            if not self._closed_by_us():
                raise
            raise PluginError("rpc error: code = Canceled desc = grpc: the client connection is closing") from None
        finally:
            self._calls.discard(call)
        return answer

    def _closed_by_us(self) -> bool:
        """Return whether a cancellation comes from `close`, not from a cancelled task."""
        task = asyncio.current_task()
        return self.closed and (task is None or not task.cancelling())


class _Connection:
    """A channel to one socket, which stays the same whatever takes its place.

    Args:
        path: The socket.

    Raises:
        OSError: there is no socket, or a link to one.
    """

    def __init__(self, path: Path) -> None:
        self.socket = HeldSocket(path)
        self.channel = grpc.aio.insecure_channel(unix_target(self.socket.descriptor_path), options=_OPTIONS)
        self.stub: rpc.DevicePluginAsyncStub = rpc.DevicePluginStub(self.channel)

    @property
    def is_alive(self) -> bool:
        """Whether a process is at the other end."""
        return self.channel.get_state() is grpc.ChannelConnectivity.READY

    async def close(self) -> None:
        """Close the channel and the socket."""
        try:
            await self.channel.close(grace=None)
        finally:
            self.socket.close()


def _go_name(code: grpc.StatusCode) -> str:
    """Return a status code as Go, and therefore a kubelet, spells it."""
    return "Canceled" if code is grpc.StatusCode.CANCELLED else code.name.title().replace("_", "")
