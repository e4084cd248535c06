"""Services of other programs that plugins call: whatever such a program does, the call ends in time."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from hub import ServiceError, call_service, message_fields, rpc
from hub.kubelet.wire import podresources_pb2 as wire
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.node import Node

STATES = wire.ListPodResourcesResponse(
    pod_resources=[wire.PodResources(name="a", namespace="n"), wire.PodResources(name="b")]
)
"""An example of a message with messages inside."""

_Method = Callable[[bytes, grpc.ServicerContext], object]


@contextmanager
def _service(path: Path, **methods: _Method) -> Iterator[None]:
    """Serve methods; those whose names begin with "Watch" return a stream."""
    server = grpc.server(ThreadPoolExecutor(4))
    handlers = {
        name: (
            grpc.unary_stream_rpc_method_handler(method)
            if name.startswith("Watch")
            else grpc.unary_unary_rpc_method_handler(method)
        )
        for name, method in methods.items()
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Service", handlers)])
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()


@pytest.fixture
def path(directory: Path) -> Path:
    """Return the path of the service's socket."""
    return directory / "service.sock"


def test_a_response(path: Path) -> None:
    """The response contains the request's content, and arrives unchanged."""
    with _service(path, Echo=lambda request, _: request):
        assert call_service(path, "/test.Service/Echo", b"\x0a\x01x") == b"\x0a\x01x"
        assert call_service(path, "/test.Service/Echo") == b""


def test_a_stream(path: Path) -> None:
    """The first message is the response, and the service is notified that no other is needed."""
    over = threading.Event()

    def states(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(over.set)
        yield b"first"
        over.wait(WAIT_SECONDS)
        yield b"second"

    with _service(path, Watch=states):
        assert call_service(path, "/test.Service/Watch") == b"first"
        assert over.wait(WAIT_SECONDS)


def _refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "not\nyou")
    raise AssertionError


def _hang(_: bytes, context: grpc.ServicerContext) -> bytes:
    over = threading.Event()
    context.add_callback(over.set)
    over.wait(WAIT_SECONDS)
    return b""


FAILURES: dict[str, tuple[str, str]] = {
    "an error": ("Refuse", "PERMISSION_DENIED: not you"),
    "no such method": ("Nope", "UNIMPLEMENTED: "),
    "no response": ("Hang", "DEADLINE_EXCEEDED: "),
    "a response that is too large": ("Large", "RESOURCE_EXHAUSTED: "),
    "an empty stream": ("WatchNothing", "returned nothing"),
}


@pytest.mark.parametrize(("method", "words"), FAILURES.values(), ids=FAILURES)
def test_a_service_that_fails(path: Path, method: str, words: str) -> None:
    """The error names the socket, the method and the reason."""
    large = bytes(rpc.MAX_BYTES + 1)
    methods: dict[str, _Method] = {"Refuse": _refuse, "Hang": _hang, "Large": lambda *_: large}
    with _service(path, **methods, WatchNothing=lambda *_: iter(())), pytest.raises(ServiceError) as raised:
        call_service(path, f"/test.Service/{method}", timeout=1 if method == "Hang" else WAIT_SECONDS)
    assert str(raised.value).startswith(f"{path}: /test.Service/{method} ")
    assert words in str(raised.value)


def test_no_service(path: Path) -> None:
    """The socket is missing, a file is in its place, or nothing responds on it; each is an error."""
    with pytest.raises(ServiceError, match="UNAVAILABLE"):
        call_service(path, "/test.Service/Echo", timeout=WAIT_SECONDS)
    path.touch()
    with pytest.raises(ServiceError, match="UNAVAILABLE"):
        call_service(path, "/test.Service/Echo", timeout=WAIT_SECONDS)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        begin = time.monotonic()
        with pytest.raises(ServiceError, match="DEADLINE_EXCEEDED"):
            call_service(path, "/test.Service/Echo", timeout=0.5)
        assert time.monotonic() - begin < WAIT_SECONDS


def test_fields_of_a_message() -> None:
    """Fields are listed by number, each with all its values; a message inside is bytes, and has fields itself."""
    pods = message_fields(STATES.SerializeToString())[1]
    assert [message_fields(bytes(pod)) for pod in pods if isinstance(pod, bytes)] == [
        {1: [b"a"], 2: [b"n"]},
        {1: [b"b"]},
    ]
    assert message_fields(b"\x08\x96\x01\x08\x00") == {1: [150, 0]}
    assert message_fields(b"") == {}


@pytest.mark.parametrize("content", [b"\xff", b"\x0a\x05x", b"\x07"])
def test_what_is_not_a_message(content: bytes) -> None:
    """Other bytes are an error, and so is a message with very many fields."""
    with pytest.raises(ServiceError, match="not a Protocol Buffers message"):
        message_fields(content)
    with pytest.raises(ServiceError, match="fields, expected at most"):
        message_fields(b"\x08\x00" * (rpc.MAX_FIELDS + 1))


CALLER = """
class P(Plugin):
    resource = "example.com/stub"
    scan_interval = 0.05

    def devices(self):
        response = call_service(self.host.path("/service.sock"), "/test.Service/List")
        return [Device(name.decode()) for name in message_fields(response).get(1, ())]
"""


async def test_a_plugin_asks_at_each_scan(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin keeps serving the kubelet, even while the service does not respond, and stops as promptly as usual."""
    names, answers = [b"a"], threading.Event()
    answers.set()

    def devices(*_: object) -> bytes:
        answers.wait(WAIT_SECONDS)
        return b"".join(b"\x0a" + bytes([len(name)]) + name for name in names)

    with _service(node.directory / "service.sock", List=devices):
        env = {"DPHUB_HOST_ROOT": str(node.directory)}
        plugin = node.start_plugin(node.write_plugin(CALLER), env=env)
        await kubelet.wait_for(STUB, 1)
        names.append(b"b")
        await kubelet.wait_for(STUB, 2)
        answers.clear()
        await kubelet.wait_for(STUB, allocatable=0)
        answers.set()
        await kubelet.wait_for(STUB, 2)
        answers.clear()
        assert await plugin.stop() == 0
        answers.set()
