"""Whatever is sent to a plugin's socket, the plugin keeps serving other clients."""

import asyncio
import contextlib
import socket
from pathlib import Path

import grpc
import psutil
import pytest

from hub.base.sockets import is_served, kubelet_identity
from hub.kubelet.channel import MAX_CONNECTIONS
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.model.plugin import RegistrationStatus
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB, PluginProcess
from hub.testing.waiting import wait_until
from tests.fuzz.targets.pluginsocket import FRAMES, METHOD_THAT_IS_NOT_TEXT, PREFACE, frame
from tests.harness.node import Node, asking_for, dialled, random_source, replace

WITHOUT_ANSWERS = """
class P(Plugin):
    resource = "example.com/p"

    def devices(self):
        return [Device("a")]
"""
"""A plugin that leaves all responses to the hub's own code."""

COUNTING = """
class P(Plugin):
    resource = "example.com/p"

    def devices(self):
        return [Device("a"), Device("b")]

    def prefer(self, available, required, size):
        return required if len(available) == 2 and len(required) == 1 else []
"""


@pytest.fixture
async def plugin(node: Node, kubelet: FakeKubelet) -> PluginProcess:
    """Start a stub, and wait until it is registered."""
    plugin = node.start_plugin()
    await plugin.registered()
    await kubelet.wait_for(STUB, 4)
    return plugin


async def still_serves(plugin: PluginProcess, kubelet: FakeKubelet) -> None:
    """Check that a pod is admitted, a change is seen, and the plugin has not registered again."""
    await kubelet.admit("trainer", {STUB: 2})
    replace(plugin.run_dir.path / "stub-faults.yaml", "unhealthy: {stub-0: test}")
    await kubelet.wait_for(STUB, 3)
    assert len(kubelet.registrations) == 1
    assert not [line for line in plugin.lines() if line["level"] in {"error", "critical"}]
    assert await plugin.stop() == 0


def garbage(path: Path) -> list[socket.socket]:
    """Open connections and send all kinds of bytes on them."""
    rng = random_source()
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    messages = [b"", b"\0" * 9, b"GET / HTTP/1.1\r\n\r\n", preface, preface + b"\xff" * 100]
    messages += [preface * rng.choice([0, 1]) + rng.randbytes(rng.randrange(20_000)) for _ in range(100)]
    clients = []
    for message in messages:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        client.settimeout(0.2)
        clients.append(client)
        try:
            client.sendall(message)
        except OSError:
            continue
    return clients


async def test_random_bytes(plugin: PluginProcess, node: Node, kubelet: FakeKubelet) -> None:
    """Bytes that are not gRPC do no harm."""
    clients = await asyncio.to_thread(garbage, node.sockets()[0])
    await still_serves(plugin, kubelet)
    for client in clients:
        client.close()


def leave_early(path: Path) -> None:
    """Send requests with a broken message, and disconnect before the response."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/v1beta1.DevicePlugin/Allocate",
        b":authority": b"x",
    }
    fields |= {b"content-type": b"application/grpc", b"te": b"trailers"}
    headers = b"".join(b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in fields.items())
    settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            # A server with many connections closes a new one.
            with contextlib.suppress(ConnectionError):
                client.sendall(settings + frame(1, 4, 1, headers) + frame(0, 1, 1, b"\0\0\0\0\3\xff\xff\xff"))


async def test_clients_that_leave_early(plugin: PluginProcess, node: Node, kubelet: FakeKubelet) -> None:
    """Their mistakes are not logged as errors, which could fill the log."""
    await asyncio.to_thread(leave_early, node.sockets()[0])
    await still_serves(plugin, kubelet)


async def test_unknown_methods_and_broken_messages(plugin: PluginProcess, node: Node, kubelet: FakeKubelet) -> None:
    """The sender gets an error, and nothing is logged."""
    async with grpc.aio.insecure_channel(f"unix:{node.sockets()[0]}") as channel:
        for method in ("/v1beta1.DevicePlugin/Destroy", "/v1beta1.Registration/Register", "/", "/v1/x"):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await channel.unary_unary(method, bytes, bytes)(b"")
            assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
        for method in ("Allocate", "GetPreferredAllocation", "PreStartContainer"):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await channel.unary_unary(f"/v1beta1.DevicePlugin/{method}", bytes, bytes)(b"\xff\xff\xff")
            assert "Error parsing message" in (error.value.details() or "")
    await still_serves(plugin, kubelet)


async def test_a_request_of_ten_megabytes(plugin: PluginProcess, node: Node, kubelet: FakeKubelet) -> None:
    """The request is refused without being read."""
    async with dialled(node.sockets()[0]) as client:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await client.Allocate(asking_for("x" * 10_000_000))
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await still_serves(plugin, kubelet)


async def test_a_thousand_unread_streams(plugin: PluginProcess, node: Node, kubelet: FakeKubelet) -> None:
    """Unread streams take memory in proportion to their number, but all other clients are served."""
    before = psutil.Process(plugin.pid).memory_info().rss
    async with dialled(node.sockets()[0], http2_lookahead_bytes=65_535) as client:
        streams = [client.ListAndWatch(wire.Empty()) for _ in range(1000)]
        await asyncio.gather(*(stream.wait_for_connection() for stream in streams))
        for n in range(20):
            node.faults(f"devices: {{{STUB}: {5 + n}}}")
            await kubelet.wait_for(STUB, 5 + n)
        assert psutil.Process(plugin.pid).memory_info().rss - before < 200_000_000
        await still_serves(plugin, kubelet)
        for stream in streams:
            stream.cancel()


async def test_many_connections(plugin: PluginProcess, node: Node, kubelet: FakeKubelet) -> None:
    """Many connections do not use up the plugin's file descriptors, and the connected kubelet is served."""
    with contextlib.ExitStack() as clients:
        # On most machines, a user's limit is 1,024 open files.
        for _ in range(5 * MAX_CONNECTIONS):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            # A full backlog must not block the event loop, which also runs the kubelet.
            await asyncio.to_thread(client.connect, str(node.sockets()[0]))
        await wait_until(lambda: psutil.Process(plugin.pid).num_fds() < 2 * MAX_CONNECTIONS, "no more connections")
        await still_serves(plugin, kubelet)


async def test_a_method_that_is_not_text(node: Node, plugin: PluginProcess, kubelet: FakeKubelet) -> None:
    """A call to this method stops gRPC's server; the plugin starts another one, whether or not a kubelet is running."""
    (path,) = node.sockets()
    for _ in range(2):
        before = len(kubelet.lists(STUB))
        await _stop_server(path)
        await wait_until(lambda: is_served(path), "another server")
        # The kubelet may not have noticed yet that the old stream has ended.
        await wait_until(lambda: len(kubelet.lists(STUB)) > before, "a list on another stream")  # noqa: B023 - awaited
        await kubelet.wait_for(STUB, 4)
        await kubelet.admit("trainer", {STUB: 1})
        await kubelet.remove("trainer")
    await kubelet.stop()
    # The plugin has a new socket by then.
    await plugin.resource_until(lambda state: state.registration is RegistrationStatus.WAITING)
    await wait_until(lambda: is_served(path), "a server without a kubelet")
    await _stop_server(path)
    await wait_until(lambda: is_served(path), "another server without a kubelet")
    assert plugin.process.poll() is None
    assert [line["count"] for line in plugin.lines() if line.get("library", "").startswith("grpc")] == [1]


async def _stop_server(path: Path) -> None:
    # The inode number alone is not enough: the next socket may have the same one.
    before = kubelet_identity(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(PREFACE + FRAMES[0] + frame(1, 5, 1, METHOD_THAT_IS_NOT_TEXT))
        await wait_until(lambda: kubelet_identity(path) != before, "gRPC to stop its server")


async def test_requests_for_very_many_containers(node: Node, kubelet: FakeKubelet) -> None:
    """These requests are refused: answering them would keep the event loop from serving any other client."""
    node.start_plugin(node.write_plugin(WITHOUT_ANSWERS), name="p")
    await kubelet.wait_for("example.com/p", 1)
    many = 1_000_000
    allocation = wire.AllocateRequest(container_requests=[wire.ContainerAllocateRequest()] * many)
    preference = wire.PreferredAllocationRequest(container_requests=[wire.ContainerPreferredAllocationRequest()] * many)
    async with dialled(node.sockets()[0]) as client, dialled(node.sockets()[0]) as other:
        await other.GetDevicePluginOptions(wire.Empty())
        for request in (client.Allocate(allocation), client.GetPreferredAllocation(preference)):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await asyncio.gather(request, other.GetDevicePluginOptions(wire.Empty(), timeout=10))
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "1000000 containers, expected at most" in (error.value.details() or "")
    await kubelet.admit("trainer", {"example.com/p": 1})


async def test_a_preference_among_very_many_ids(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin's code gets each device once."""
    node.start_plugin(node.write_plugin(COUNTING), name="p")
    await kubelet.wait_for("example.com/p", 2)
    container = wire.ContainerPreferredAllocationRequest(
        available_deviceIDs=["a", "b"] * 100_000, must_include_deviceIDs=["a"] * 100_000, allocation_size=1
    )
    async with dialled(node.sockets()[0]) as client:
        answer = await client.GetPreferredAllocation(wire.PreferredAllocationRequest(container_requests=[container]))
    assert list(answer.container_responses[0].deviceIDs) == ["a"]
