"""A plugin's socket in the kubelet's directory: messages, frames and bytes."""

import socket
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message

from hub.base.sockets import is_served
from hub.kubelet.channel import CHANNEL_OPTIONS
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginStub
from tests.fuzz.choices import Choices, edited, odd_text
from tests.fuzz.pieces import Input, Piece
from tests.fuzz.target import Fault
from tests.fuzz.targets.live import PROBE_SECONDS, LiveTarget, exchange
from tests.harness.hub_process import wait_until


class PluginSocket(LiveTarget):
    """A plugin's socket in the kubelet's directory."""

    def start(self) -> None:
        """Connect a client that stays connected."""
        self.channel = grpc.insecure_channel(f"unix:{self.socket}", CHANNEL_OPTIONS)
        self.stub: Any = DevicePluginStub(self.channel)

    def probe(self) -> None:
        """Allocate a device."""
        answer = wait_until(self._allocate, "a response")
        if not answer.container_responses[0].devices:
            raise Fault("Allocate answers without devices")

    def _allocate(self) -> wire.AllocateResponse | None:
        """Allocate a device; None while no server is running: a method that is not UTF-8 makes it restart."""
        if not is_served(self.socket):
            return None
        request = wire.AllocateRequest(container_requests=[wire.ContainerAllocateRequest(devices_ids=["stub-0"])])
        try:
            return self.stub.Allocate(request, timeout=PROBE_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}:
                return None
            raise

    def close(self) -> None:
        """Disconnect, and stop the processes."""
        self.channel.close()
        super().close()


def _ids(choices: Choices) -> list[str]:
    names = [odd_text(choices, ["stub-0", "stub-1", "stub-2", "stub-3", "stub-4"]) for _ in range(choices.below(4) + 1)]
    return names * choices.of((1, 1, 1, 0, 2, 20))


def _allocate(choices: Choices) -> Message:
    containers = [wire.ContainerAllocateRequest(devices_ids=_ids(choices)) for _ in range(1 + choices.below(3))]
    return wire.AllocateRequest(container_requests=containers * choices.of((1, 1, 0, 50)))


def _prefer(choices: Choices) -> Message:
    size = choices.of((1, 2, 0, -1, 2**31 - 1))
    container = wire.ContainerPreferredAllocationRequest(
        available_deviceIDs=_ids(choices), must_include_deviceIDs=_ids(choices), allocation_size=size
    )
    return wire.PreferredAllocationRequest(container_requests=[container] * choices.of((1, 1, 0, 50)))


MESSAGES: Mapping[str, Callable[[Choices], Message]] = {
    "Allocate": _allocate,
    "GetPreferredAllocation": _prefer,
    "PreStartContainer": lambda choices: wire.PreStartContainerRequest(devices_ids=_ids(choices)),
}
"""The function that creates each method's message; if no choices are made, it is an ordinary one."""


class Requests(PluginSocket):
    """Requests of the device plugin API: any bytes, and any ids."""

    def make(self, choices: Choices) -> Input:
        """Create a message, and change the bytes of every other one."""
        method, is_whole = choices.of(list(MESSAGES)), choices.below(2)
        content = MESSAGES[method](choices if is_whole else Choices(b"")).SerializeToString()
        return [Piece.of(content if is_whole else edited(choices, content), method)]

    def send(self, pieces: Input) -> None:
        """Call the method; any status is a valid response, except that of an exception."""
        for piece in pieces:
            call = self.channel.unary_unary(f"/v1beta1.DevicePlugin/{piece.name}")
            try:
                call(piece.content, timeout=PROBE_SECONDS)
            except grpc.RpcError as error:
                # If the bytes are not a message, gRPC itself answers.
                is_parsed = "Error parsing message" not in (error.details() or "")
                if error.code() in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED} and is_parsed:
                    raise Fault(f"{piece.name} answers {error.code()}: {error.details()[:100]}") from None


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Create a frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header(name: bytes, value: bytes) -> bytes:
    """Encode a header as HTTP/2 does, without compression."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def _headers(path: bytes) -> bytes:
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
    return b"".join(header(name, value) for name, value in fields)


_HEADERS = _headers(b"/v1beta1.DevicePlugin/Allocate")
METHOD_THAT_IS_NOT_TEXT = _headers(b"/\xff")
_ALLOCATE = _allocate(Choices(b"")).SerializeToString()

FRAMES = (
    frame(4, 0, 0, b"\0\3\0\0\0\x64"),  # SETTINGS
    frame(1, 4, 1, _HEADERS),
    frame(0, 1, 1, b"\0" + len(_ALLOCATE).to_bytes(4, "big") + _ALLOCATE),  # DATA
    frame(1, 0, 3, _HEADERS[:40]),
    frame(9, 4, 3, _HEADERS[40:]),  # CONTINUATION
    frame(6, 0, 0, b"12345678"),  # PING
    frame(8, 0, 0, b"\0\0\xff\xff"),  # WINDOW_UPDATE
    frame(2, 0, 1, b"\0\0\0\0\x10"),  # PRIORITY
    frame(3, 0, 1, b"\0\0\0\x08"),  # RST_STREAM
    frame(7, 0, 0, b"\0\0\0\0\0\0\0\0"),  # GOAWAY
    frame(5, 4, 1, b"\0\0\0\x02" + _HEADERS),  # PUSH_PROMISE
    frame(4, 1, 0, b""),  # an acknowledgement of settings
)


class Frames(PluginSocket):
    """Raw bytes and frames of HTTP/2."""

    def make(self, choices: Choices) -> Input:
        """Create valid frames and changed ones, in any order."""
        if choices.below(8) == 7:
            return [
                Piece.of(
                    edited(choices, choices.of((PREFACE, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\0" * 9)))
                )
            ]
        frames = [choices.of(FRAMES) for _ in range(choices.below(8))]
        changed = [_changed_frame(choices, each) if choices.below(3) == 2 else each for each in frames]
        return [
            Piece.of(PREFACE),
            *map(Piece.of, FRAMES[:3] if choices.below(2) else FRAMES[:1]),
            *map(Piece.of, changed),
        ]

    def send(self, pieces: Input) -> None:
        """Send the frames on a separate connection."""
        wait_until(lambda: self._is_sent(pieces), "a connection")

    def _is_sent(self, pieces: Input) -> bool:
        try:
            exchange(socket.AF_UNIX, str(self.socket), [piece.content for piece in pieces])
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def is_expected(self, event: Mapping[str, Any]) -> bool:
        """Return whether gRPC, or the event loop for it, logs that a name in the frames is not text."""
        library = event.get("library", "")
        return library.startswith("grpc") or (library == "asyncio" and "UnicodeDecodeError" in event["event"])


def _changed_frame(choices: Choices, valid: bytes) -> bytes:
    kind, flags, stream, payload = valid[3], valid[4], int.from_bytes(valid[5:9], "big"), valid[9:]
    match choices.below(5):
        case 0:
            return edited(choices, valid, 2)
        case 1:
            return frame(kind, flags, stream, edited(choices, payload, 2)[: 1 << 16])
        case 2:
            return frame(choices.below(256), flags, stream, payload)
        case 3:
            return frame(kind, choices.below(256), stream, payload)
        case _:
            return frame(kind, flags, choices.of((0, 1, 2, 3, 5, 0x7FFFFFFF, 0xFFFFFFFF)), payload)
