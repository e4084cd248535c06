"""What the kubelet's pod resources API may return."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from structlog.testing import capture_logs

from hub.api.device import Device
from hub.base.jsonfile import replace_file
from hub.base.untrusted import MAX_STATE
from hub.kubelet import podresources
from hub.kubelet.podresources import list_holders, pod_resources_socket
from hub.model.plugin import PluginReport, RegistrationStatus, ResourceStatus
from hub.plugin.history import History
from hub.plugin.holders import Holders
from hub.testing.waiting import wait_until
from tests.unit.plugin.plugin_setup import STUB, Setup

ODD = {
    "bytes": b"\xff\xff\xff",
    "cut off": b"\x0a\x05\x0a",
    "a name that is not UTF-8": b"\x0a\x04\x0a\x02\xff\xfe",
    "nested": b"\x0b" * 10_000,
}


def message(number: int, content: bytes) -> bytes:
    """Encode a field of a protobuf message that is a message or a string."""
    length, size = len(content), b""
    while length > 0x7F:
        length, size = length >> 7, size + bytes([length & 0x7F | 0x80])
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def pod(*, name: bytes = b"p", container: bytes = b"c", devices: bytes = b"") -> bytes:
    """Encode a pod with one container."""
    return message(1, message(1, name) + message(2, b"n") + message(3, message(1, container) + devices))


def _devices(count: int, *, resource: bytes = b"a/b", ending: bytes = b"") -> bytes:
    return message(2, message(1, resource) + b"".join(message(2, b"%06d" % n + ending) for n in range(count)))


ENORMOUS = {
    "pods": b"\x0a\x00" * 1_000_000,
    "containers": message(1, b"\x1a\x00" * 1_000_000),
    "kinds of devices": pod(devices=b"\x12\x00" * 1_000_000),
    "devices": pod(devices=_devices(300_000)),
    "devices of a container": pod(devices=_devices(65_537)),
    "the name of a resource": pod(devices=_devices(10_000, resource=b"r" * 2000)),
    "unprintable names": pod(devices=_devices(30_000, ending=b"\x01" * 30)),
    "the name of a pod": pod(name=b"p" * 2_000_000, devices=_devices(10_000)),
    "the name of a container": pod(container=b"c" * 2_000_000, devices=_devices(10_000)),
}
"""Responses that each have far too much of one thing, and still fit in one message."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait long enough that no response is missing because the machine is slow."""
    monkeypatch.setattr(podresources, "TIMEOUT", 60.0)


@asynccontextmanager
async def kubelet_answering(socket: Path, answer: bytes) -> AsyncIterator[None]:
    """Serve the API with these bytes as its response."""

    async def respond(_request: bytes, _context: object) -> bytes:
        return answer

    async with kubelet_with(socket, grpc.unary_unary_rpc_method_handler(respond)):
        yield


@asynccontextmanager
async def kubelet_with(socket: Path, handler: grpc.RpcMethodHandler) -> AsyncIterator[None]:
    """Serve the API with this method."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": handler})])
    socket.parent.mkdir(parents=True, exist_ok=True)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def test_a_success_without_an_answer_counts_as_no_answer(tmp_path: Path) -> None:
    """A call that succeeds without a message says as little as one that fails."""

    async def respond(_request: bytes, _context: object) -> AsyncIterator[bytes]:
        return
        yield b""

    # On the wire, a stream without a message.
    handler = grpc.unary_stream_rpc_method_handler(respond)
    async with kubelet_with(tmp_path / "kubelet.sock", handler):
        assert await list_holders(tmp_path / "kubelet.sock") is None


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
async def test_an_undecodable_answer_counts_as_no_answer(tmp_path: Path, answer: bytes) -> None:
    """As without a response, it is unknown which container uses which device."""
    async with kubelet_answering(tmp_path / "kubelet.sock", answer):
        assert await list_holders(tmp_path / "kubelet.sock") is None


@pytest.mark.parametrize("answer", ENORMOUS.values(), ids=ENORMOUS)
async def test_an_enormous_answer_counts_as_no_answer(tmp_path: Path, answer: bytes) -> None:
    """Reading it would take too long, or more memory than there is."""
    socket = tmp_path / "kubelet.sock"
    async with kubelet_answering(socket, answer):
        assert await list_holders(socket) is None


async def test_the_answer_of_a_full_node(tmp_path: Path) -> None:
    """It is read: a thousand pods with the longest names, and 16,384 devices, each with a resource and a NUMA node."""
    node = message(3, message(1, b"\x08\x01"))
    each = [
        message(2, message(1, b"nvidia.com/mig-1g.5gb.shared") + message(2, b"%048d" % n) + node) for n in range(16_384)
    ]
    pods = [pod(name=b"p" * 253, container=b"c" * 63, devices=b"".join(each[n::1000])) for n in range(1000)]
    async with kubelet_answering(tmp_path / "kubelet.sock", b"".join(pods)):
        holders = await list_holders(tmp_path / "kubelet.sock")
    assert holders is not None
    assert len(holders) == len(each)


async def test_files_have_room_for_the_largest_answer(tmp_path: Path) -> None:
    """The plugin's report and its history stay readable, whatever the kubelet answers: nothing in them is lost."""
    it = Setup()
    it.scan(Device("a"))
    it.ownership.acquire()
    history = History(tmp_path / "history.json", it.inventory, it.ownership, it.metrics)
    names = b"".join(message(2, b"%05d" % n + b'"' * 40) for n in range(65_536))
    async with kubelet_answering(tmp_path / "kubelet.sock", pod(devices=message(2, message(1, STUB.encode()) + names))):
        holders = await list_holders(tmp_path / "kubelet.sock")
    assert holders is not None
    history.update(holders)
    assert (tmp_path / "history.json").stat().st_size < MAX_STATE
    resource = ResourceStatus(
        STUB,
        "s",
        RegistrationStatus.REGISTERED,
        0,
        removed_in_use={name: holder for (_, name), holder in holders.items()},
    )
    replace_file(tmp_path / "report.json", PluginReport("stub", resources=(resource,)))
    assert (tmp_path / "report.json").stat().st_size < MAX_STATE


async def test_the_plugin_outlives_such_answers(tmp_path: Path) -> None:
    """It retries the query, and knows the holders as soon as the kubelet's response can be decoded."""
    socket = pod_resources_socket(tmp_path / "device-plugins")
    it = Setup()
    holders = Holders(tmp_path / "device-plugins", it.inventory, it.status, it.history)
    async with kubelet_answering(socket, ODD["bytes"]):
        with capture_logs() as log:
            running = asyncio.create_task(holders.run())
            assert not await holders.refresh()
    socket.unlink(missing_ok=True)
    async with kubelet_answering(socket, b""):
        holders.refresh_soon()
        await wait_until(lambda: holders.known, "a response")
    assert not running.done()
    running.cancel()
    assert log == []
