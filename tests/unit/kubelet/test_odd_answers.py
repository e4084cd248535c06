"""What the kubelet's pod resources API may answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from structlog.testing import capture_logs

from hub.kubelet.podresources import list_holders, pod_resources_socket
from hub.plugin.holders import Holders
from hub.testing.waiting import wait_until
from tests.unit.plugin.plugin_setup import Setup

ODD = {
    "bytes": b"\xff\xff\xff",
    "cut off": b"\x0a\x05\x0a",
    "a name that is not UTF-8": b"\x0a\x04\x0a\x02\xff\xfe",
    "nested": b"\x0b" * 10_000,
}


@asynccontextmanager
async def _kubelet(socket: Path, answer: bytes) -> AsyncIterator[None]:
    """Serve the API with these bytes as its answer."""

    async def respond(_request: bytes, _context: object) -> bytes:
        return answer

    handler = grpc.unary_unary_rpc_method_handler(respond)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": handler})])
    socket.parent.mkdir(parents=True, exist_ok=True)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
async def test_an_answer_that_cannot_be_decoded_is_none(tmp_path: Path, answer: bytes) -> None:
    """Which container uses which device is unknown then, as without an answer."""
    async with _kubelet(tmp_path / "kubelet.sock", answer):
        assert await list_holders(tmp_path / "kubelet.sock") is None


async def test_the_plugin_outlives_such_answers(tmp_path: Path) -> None:
    """It asks again, and knows the holders as soon as the kubelet's answer is one."""
    socket = pod_resources_socket(tmp_path / "device-plugins")
    it = Setup()
    holders = Holders(tmp_path / "device-plugins", it.inventory, it.status)
    async with _kubelet(socket, ODD["bytes"]):
        with capture_logs() as log:
            running = asyncio.create_task(holders.run())
            assert not await holders.refresh()
    socket.unlink(missing_ok=True)
    async with _kubelet(socket, b""):
        holders.refresh_soon()
        await wait_until(lambda: holders.known, "an answer")
    assert not running.done()
    running.cancel()
    assert log == []
