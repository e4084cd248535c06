"""A kubelet's connection to one plugin."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

import grpc.aio

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire import v1beta1_pb2_grpc as rpc

MAX_RECEIVED_BYTES = 4 * 1024 * 1024
"""What Go's gRPC accepts in one message, and so a kubelet."""

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MAX_RECEIVED_BYTES),
    ("grpc.default_authority", "localhost"),
    # Channels to one path would share a connection, and its back-off, with those of an earlier plugin.
    ("grpc.use_local_subchannel_pool", 1),
)

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class PluginError(Exception):
    """A call that a plugin did not answer well, in a kubelet's words."""


class PluginClient:
    """Calls one plugin's socket; usable once dialled, until closed."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS)
        self._stub = rpc.DevicePluginStub(self._channel)
        self._calls: set[grpc.aio.Call] = set()
        self.closed = False

    async def dial(self, timeout: float) -> None:  # noqa: ASYNC109 - a kubelet's own setting, not its caller's patience
        """Connect, and try again until that works or `timeout` seconds have passed.

        Raises:
            PluginError: nobody answered in time, or the connection was closed meanwhile.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._channel.channel_ready()
        except TimeoutError:
            raise PluginError("failed to dial device plugin: context deadline exceeded") from None
        except grpc.aio.UsageError:
            # An older plugin's end has taken this one with it already.
            raise PluginError("failed to dial device plugin: grpc: the client connection is closing") from None

    async def options(self) -> wire.DevicePluginOptions:
        """What the plugin wants to be asked; there is no deadline."""
        try:
            return await self._answer(self._stub.GetDevicePluginOptions(wire.Empty()))
        except PluginError as error:
            raise PluginError(f"failed to get device plugin options: {error}") from None

    async def lists(self) -> AsyncIterator[wire.ListAndWatchResponse]:
        """Every list that the plugin sends, until the stream ends, however it ends."""
        call = self._stub.ListAndWatch(wire.Empty())
        self._calls.add(call)
        try:
            async for response in call:
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
        """Which of the available devices the plugin would take; may be empty. There is no deadline."""
        container = wire.ContainerPreferredAllocationRequest(
            available_deviceIDs=available, must_include_deviceIDs=required, allocation_size=size
        )
        request = wire.PreferredAllocationRequest(container_requests=[container])
        try:
            answer = await self._answer(self._stub.GetPreferredAllocation(request))
        except PluginError as error:
            raise PluginError(f"device plugin GetPreferredAllocation rpc failed with err: {error}") from None
        return list(answer.container_responses[0].deviceIDs) if answer.container_responses else []

    async def allocate(self, ids: Sequence[str]) -> wire.ContainerAllocateResponse:
        """What one container gets for these devices; there is no deadline."""
        container = wire.ContainerAllocateRequest(devices_ids=ids)
        answer = await self._answer(self._stub.Allocate(wire.AllocateRequest(container_requests=[container])))
        if not answer.container_responses:
            raise PluginError("no containers return in allocation response")
        return answer.container_responses[0]

    async def pre_start(self, ids: Sequence[str], timeout: float) -> None:  # noqa: ASYNC109 - becomes the call's deadline
        """Tell the plugin that a container is about to start with these devices."""
        request = wire.PreStartContainerRequest(devices_ids=ids)
        try:
            await self._answer(self._stub.PreStartContainer(request, timeout=timeout))
        except PluginError as error:
            raise PluginError(f"device plugin PreStartContainer rpc failed with err: {error}") from None

    async def close(self) -> None:
        """End the connection and every call on it at once."""
        self.closed = True
        for call in self._calls:
            call.cancel()
        await self._channel.close(grace=None)

    async def _answer(self, call: "grpc.aio.UnaryUnaryCall[_Request, _Answer]") -> _Answer:
        self._calls.add(call)
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise PluginError(f"rpc error: code = {_go_name(error.code())} desc = {error.details()}") from None
        except asyncio.CancelledError:
            if not self._closed_by_us():
                raise
            raise PluginError("rpc error: code = Canceled desc = grpc: the client connection is closing") from None
        finally:
            self._calls.discard(call)

    def _closed_by_us(self) -> bool:
        """Whether a cancellation came from closing the connection, not from somebody who cancels this task."""
        task = asyncio.current_task()
        return self.closed and (task is None or not task.cancelling())


def _go_name(code: grpc.StatusCode) -> str:
    """The code as Go spells it, in whose words a kubelet reports."""
    return "Canceled" if code is grpc.StatusCode.CANCELLED else code.name.title().replace("_", "")
