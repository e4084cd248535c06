"""The server of a resource, and its socket."""

import asyncio
from contextlib import suppress
from pathlib import Path

import grpc.aio
import pytest

from hub.base.notifier import Notifier
from hub.plugin.deviceplugin.server import DevicePluginServer, Streams

_STEPS = 3


class _Service:
    """A service for the server."""

    streams = Streams(Notifier())

    def attach(self, _: grpc.aio.Server) -> None:
        """Add no methods."""


class _Server:
    """A gRPC server whose start and stop take a few steps of the event loop, and which must not be left in between."""

    def __init__(self) -> None:
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
    """At each moment, the server ends without an error and leaves no socket."""
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
