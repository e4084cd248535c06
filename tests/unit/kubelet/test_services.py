"""Services of the kubelet's APIs on a gRPC server."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from hub.kubelet.channel import unix_target
from hub.kubelet.services import add_service
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import (
    DevicePluginServicer,
    DevicePluginStub,
    add_DevicePluginServicer_to_server,
)
from hub.testing.waiting import wait_until
from tests.fuzz.targets.pluginsocket import METHOD_THAT_IS_NOT_TEXT, PREFACE, frame

STOPS = 40
"""With gRPC's registered methods, twice this number of stops changed the memory of 15 to 60 objects."""


class Service(DevicePluginServicer):
    """A service with options."""

    async def GetDevicePluginOptions(self, _request: object, _context: object) -> wire.DevicePluginOptions:
        """Return the options."""
        return wire.DevicePluginOptions(pre_start_required=True)


async def test_methods_work(directory: Path) -> None:
    """A client notices no difference."""
    server, path = await _serve(directory)
    async with grpc.aio.insecure_channel(unix_target(path)) as channel:
        answer = await DevicePluginStub(channel).GetDevicePluginOptions(wire.Empty(), timeout=60)
    assert answer.pre_start_required
    await server.stop(None)


async def test_a_server_that_ends_changes_no_memory_of_others(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A method name that is not text ends gRPC's loop; objects that other threads create at that time stay intact."""
    caplog.set_level(logging.CRITICAL)
    with _bytes_in_use() as changed:
        for _ in range(STOPS):
            server, path = await _serve(directory)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(PREFACE + frame(4, 0, 0, b"") + frame(1, 5, 1, METHOD_THAT_IS_NOT_TEXT))
                await _gone(path)
            await server.stop(None)
    assert changed == []


async def _gone(path: Path) -> None:
    await wait_until(lambda: not path.exists(), "gRPC to stop its server")


async def _serve(directory: Path) -> tuple[grpc.aio.Server, Path]:
    server, path = grpc.aio.server(), directory / "plugin.sock"
    add_service(server, add_DevicePluginServicer_to_server, Service())
    server.add_insecure_port(unix_target(path))
    await server.start()
    return server, path


@contextmanager
def _bytes_in_use() -> Iterator[list[int]]:
    """Create and check objects of the size of a pending call in two threads; yield the sizes of changed ones."""
    changed: list[int] = []
    end = threading.Event()

    def create() -> None:
        while not end.is_set():
            kept = [b"\xa5" * size for size in range(160, 224, 8) for _ in range(40)]
            changed.extend(len(each) for each in kept * 3 if each.count(0xA5) != len(each))

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield changed
    finally:
        end.set()
        for thread in threads:
            thread.join()
