"""The server of a resource, and its socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc.aio
import pytest

from hub.base.changecount import ChangeCounter
from hub.base.notifier import Notifier
from hub.kubelet.services import add_service
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import (
    DevicePluginServicer,
    DevicePluginStub,
    add_DevicePluginServicer_to_server,
)
from hub.plugin.deviceplugin import server as module
from hub.plugin.deviceplugin.server import MAX_STREAMS, DevicePluginServer, Streams
from hub.testing.waiting import wait_until
from tests.fuzz.targets.pluginsocket import FRAMES, METHOD_THAT_IS_NOT_TEXT, PREFACE, frame

_STEPS = 3


async def test_old_streams_end_without_a_loss() -> None:
    """The plugin ends all but the last; the kubelet counts as connected until it ends a stream itself."""
    streams = Streams(Notifier())
    with ExitStack() as stack:
        opened = []
        for _ in range(MAX_STREAMS):
            assert not streams.are_many
            streams.is_awaited = True
            ending = stack.enter_context(ExitStack())
            opened.append((ending.enter_context(streams.track()), ending))
        assert streams.are_many
        assert streams.end_replaced(limit=1)
        assert [stream.is_over for stream, _ in opened] == [True, *[False] * (MAX_STREAMS - 1)]
        assert streams.end_replaced()
        assert not streams.end_replaced()
        for stream, ending in opened[:-1]:
            assert stream.is_over
            await stream.wait_for(ChangeCounter().wait_beyond(0))
            ending.close()
        assert not streams.are_many
        assert not opened[-1][0].is_over
        assert streams.kubelet_connected
    assert not streams.kubelet_connected


class _Service:
    """A service for the server."""

    streams = Streams(Notifier())

    def attach(self, _: grpc.aio.Server) -> None:
        """Add no methods."""


class _ShortStreams(DevicePluginServicer):
    """A service that ends each stream after one list."""

    streams = Streams(Notifier())

    def attach(self, server: grpc.aio.Server) -> None:
        """Add the service's methods."""
        add_service(server, add_DevicePluginServicer_to_server, self)

    async def ListAndWatch(self, _request: wire.Empty, _context: object) -> AsyncIterator[wire.ListAndWatchResponse]:
        yield wire.ListAndWatchResponse()


async def test_a_connection_without_a_stream_is_closed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubelets before 1.37 keep the connection of a stream that the plugin has ended."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 1)
    server = DevicePluginServer(directory / "x.sock", _ShortStreams(), Notifier())
    await server.open()
    async with grpc.aio.insecure_channel(f"unix:{server.path}") as channel:
        async for _ in DevicePluginStub(channel).ListAndWatch(wire.Empty()):
            assert channel.get_state() is grpc.ChannelConnectivity.READY
        await wait_until(lambda: channel.get_state() is grpc.ChannelConnectivity.IDLE, "the end of the connection")
    await server.close()


class _SlowCalls(DevicePluginServicer):
    """A service that keeps streams open, and answers a call when the test says so."""

    streams = Streams(Notifier())

    def __init__(self) -> None:
        self.called, self.answer = asyncio.Event(), asyncio.Event()

    def attach(self, server: grpc.aio.Server) -> None:
        """Add the service's methods."""
        add_service(server, add_DevicePluginServicer_to_server, self)

    async def ListAndWatch(self, _request: wire.Empty, _context: object) -> AsyncIterator[wire.ListAndWatchResponse]:
        with self.streams.track() as stream:
            yield wire.ListAndWatchResponse()
            await stream.wait_for(ChangeCounter().wait_beyond(0))

    async def Allocate(self, _request: wire.AllocateRequest, _context: object) -> wire.AllocateResponse:
        self.called.set()
        await self.answer.wait()
        return wire.AllocateResponse(container_responses=[wire.ContainerAllocateResponse()])


@pytest.mark.parametrize("is_in_time", [True, False])
async def test_a_call_that_comes_at_the_last_moment(directory: Path, is_in_time: bool) -> None:  # noqa: FBT001 - a parameter
    """An exiting plugin ends all streams at once, and still answers; a call that hangs delays the exit only briefly."""
    service = _SlowCalls()
    server = DevicePluginServer(directory / "x.sock", service, Notifier())
    await server.open()
    async with grpc.aio.insecure_channel(f"unix:{server.path}") as channel:
        stub = DevicePluginStub(channel)
        lists = [aiter(stub.ListAndWatch(wire.Empty())) for _ in range(2)]
        for each in lists:
            await anext(each)
        call = asyncio.ensure_future(stub.Allocate(wire.AllocateRequest()))
        await service.called.wait()
        closing = asyncio.create_task(server.close(grace=60 if is_in_time else 0.1))
        for each in lists:
            assert [response async for response in each] == []
        if is_in_time:
            service.answer.set()
            assert len((await call).container_responses) == 1
        else:
            with pytest.raises(grpc.aio.AioRpcError, match="Cancelling all calls"):
                await call
        await closing
    assert not server.path.exists()


class _Server:
    """A gRPC server whose start and stop take a few steps of the event loop, and must not be interrupted."""

    def __init__(self, options: object = None) -> None:
        del options
        self._path = Path()
        self._started = 0

    def add_insecure_port(self, address: str) -> None:
        self._path = Path(address.removeprefix("unix:"))
        self._path.touch()

    async def start(self) -> None:
        for _ in range(_STEPS):
            await asyncio.sleep(0)
            self._started += 1

    async def stop(self, grace: float | None) -> None:
        assert grace is None
        assert self._started == _STEPS
        for _ in range(_STEPS):
            await asyncio.sleep(0)
        self._path.unlink()


@pytest.mark.parametrize("steps", range(2 * _STEPS))
async def test_a_stop_while_the_socket_is_bound_again(
    directory: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each moment, the server stops without an error and leaves no socket."""
    monkeypatch.setattr(grpc.aio, "server", _Server)
    server = DevicePluginServer(directory / "x.sock", _Service(), Notifier())
    await server.open()
    opening = asyncio.create_task(server.open())
    for _ in range(steps):
        await asyncio.sleep(0)
    opening.cancel()
    with suppress(asyncio.CancelledError):
        await opening
    await server.close()
    assert not server.path.exists()


async def test_a_stop_while_a_request_stops_the_server(directory: Path) -> None:
    """A method name that is not UTF-8 ends gRPC's loop; at any later moment, the server can be stopped and started."""
    server = DevicePluginServer(directory / "x.sock", _ShortStreams(), Notifier())
    for number in range(80):
        await server.open()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(server.path))
            client.sendall(PREFACE + FRAMES[0] + frame(1, 5, 1, METHOD_THAT_IS_NOT_TEXT))
            await asyncio.sleep(number * 0.0001)
            await server.close()
        assert not server.path.exists()
