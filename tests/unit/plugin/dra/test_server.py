"""What clients on the sockets of a driver can do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from hub.base.changecount import ChangeCounter
from hub.kubelet.channel import MAX_CONNECTIONS, unix_target
from hub.kubelet.wire import pluginregistration_pb2 as wire
from hub.kubelet.wire.pluginregistration_pb2_grpc import RegistrationStub
from hub.plugin.dra.server import ERROR_CHARACTERS, DraServer, Registration

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)


class Sockets:
    """The sockets of a driver, and its registration.

    Args:
        directory: The directory of the sockets.
    """

    def __init__(self, directory: Path) -> None:
        self.paths = directory / "reg.sock", directory / "dra.sock"
        self.registration = Registration("stub.dphub.dev", self.paths[1], ("v1.DRAPlugin",), ChangeCounter())
        self.server = DraServer(*self.paths, self.registration)


@pytest.fixture
async def sockets(directory: Path) -> AsyncIterator[Sockets]:
    """Serve a driver on its sockets."""
    sockets = Sockets(directory)
    await sockets.server.bind()
    yield sockets
    await sockets.server.close()


@pytest.mark.parametrize("number", [0, 1], ids=["registration", "service"])
async def test_connections_have_a_limit(sockets: Sockets, number: int) -> None:
    """Further ones are closed at once: a process without a free file descriptor could not report that it is alive."""
    clients = [await asyncio.open_unix_connection(sockets.paths[number]) for _ in range(MAX_CONNECTIONS + 30)]
    for _, writer in clients:
        writer.write(_PREFACE)
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(reader.read(1) for reader, _ in clients), return_exceptions=True)
    for _, writer in clients:
        writer.close()
    assert len([answer for answer in answers if isinstance(answer, bytes) and answer]) <= MAX_CONNECTIONS


async def test_a_reason_of_the_kubelet_has_a_limit(sockets: Sockets) -> None:
    """The plugin's report, which contains the kubelet's reason for each resource, stays readable."""
    status = wire.RegistrationStatus(plugin_registered=False, error="\x01\n" * 1_000_000)
    async with grpc.aio.insecure_channel(unix_target(sockets.paths[0])) as channel:
        await RegistrationStub(channel).NotifyRegistrationStatus(status)
    assert sockets.registration.accepted is False
    assert len(sockets.registration.error) == ERROR_CHARACTERS
    assert sockets.registration.error.isprintable()
