"""Sockets of a running hub and a running plugin."""

import json
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import psutil

from hub.base.sockets import is_served
from hub.model.admin import Cordon, RefreshHolders, Reset, SetLogLevel, Uncordon
from hub.model.hub import InstanceReport
from tests.fuzz.choices import Choices, edited, edited_json, odd_text
from tests.fuzz.guard import CPU_SECONDS
from tests.fuzz.pieces import Input, Piece
from tests.fuzz.target import Fault, Target
from tests.harness.hub_process import HubProcess, wait_until, watcher

PROBE_SECONDS = 60.0
"""How long a valid request may take: a process that hangs takes forever, one on a busy machine does not."""

_QUIET_SECONDS = 0.05
"""How long a client waits for the rest of a response before it closes the connection."""


CONFIG = watcher("stub", "cmd = python -m hub.plugin plugins.stub:Stub\n")


class LiveTarget(Target):
    """A hub with the stub plugin; whatever it receives, it does not log an error or hang, and serves other clients."""

    inputs = 150

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.socket = directory / "plugins/dphub-example.com_stub.sock"
        self.admin = directory / "run/dphub.stub.admin"
        self.hub = HubProcess(directory, CONFIG).start()
        try:
            wait_until(lambda: is_served(self.socket) and is_served(self.admin), "the sockets of the plugin")
            self.pid = self.hub.plugin_pid("stub")
            self.start()
        except BaseException:
            self.hub.kill()
            raise
        self._log = self.hub.log.stat().st_size

    def start(self) -> None:
        """Prepare a client."""

    def probe(self) -> None:
        """Send a valid request, which must succeed."""
        raise NotImplementedError

    def send(self, pieces: Input) -> None:
        """Send an input."""
        raise NotImplementedError

    def server(self) -> int:
        """Return the process that gets the inputs."""
        return self.pid

    def is_expected(self, _event: Mapping[str, Any]) -> bool:
        """Return whether an input may cause this line of the log, whatever its level."""
        return False

    def consume(self, pieces: Input) -> None:
        """Send an input, and check that the server works as before."""
        before = self._server_cpu()
        self.send(pieces)
        self.probe()
        if self._server_cpu() - before > CPU_SECONDS:
            raise Fault(f"an input takes more than {CPU_SECONDS:g} s of the server's CPU time")
        self._check_log()

    def close(self) -> None:
        """Stop the processes."""
        self.hub.kill()

    def _server_cpu(self) -> float:
        try:
            times = psutil.Process(self.server()).cpu_times()
        except psutil.NoSuchProcess:
            fault = Fault("the server has exited")
            fault.add_note(f"The last lines of the log:\n{self.hub.text()[-4000:]}")
            raise fault from None
        return times.user + times.system

    def _check_log(self) -> None:
        if self.hub.log.stat().st_size == self._log:
            return
        with self.hub.log.open("rb") as file:
            file.seek(self._log)
            text = file.read()
        self._log += len(text)
        for line in text.splitlines():
            event = (
                json.loads(line)
                if line.startswith(b"{")
                else {"event": line.decode(errors="replace"), "level": "error"}
            )
            if self.is_expected(event):
                continue
            if event["level"] in {"error", "critical"} or event["event"] == "plugin started":
                raise Fault(f"the server logs {event['event']}")


def exchange(family: int, address: Any, chunks: Sequence[bytes]) -> bytes:  # noqa: ANN401 - of either family
    """Send bytes on a new connection; return what arrives until the server closes the connection or is silent."""
    answer = b""
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(PROBE_SECONDS)
        client.connect(address)
        client.settimeout(_QUIET_SECONDS)
        with suppress(OSError):
            for chunk in chunks:
                client.sendall(chunk)
            if family == socket.AF_UNIX and sum(map(len, chunks)) % 4:
                # Usually end the stream, which is faster than waiting for silence; some inputs stay unterminated.
                client.shutdown(socket.SHUT_WR)
            while part := client.recv(65_536):
                answer += part
    return answer


class AdminRequests(LiveTarget):
    """Requests on a plugin's admin socket."""

    REQUESTS: ClassVar[Sequence[Mapping[str, Any]]] = [
        msgspec.to_builtins(request)
        for request in (
            Cordon("stub-3", "by hand"),
            Uncordon("stub-3"),
            Reset("stub-9"),
            SetLogLevel("info"),  # type: ignore[arg-type] # it is only encoded
            RefreshHolders(),
        )
    ]

    def make(self, choices: Choices) -> Input:
        """Change a valid request."""
        request = dict(choices.of(self.REQUESTS))
        match choices.below(3):
            case 0:
                line = edited(choices, msgspec.json.encode(request))
            case 1:
                line = edited_json(choices, request)
            case _:
                names = [name for name in request if name != "type"]
                line = msgspec.json.encode(request | {name: odd_text(choices, ["stub-0", "stub-3"]) for name in names})
        return [Piece.of(line + b"\n" * (1 - choices.below(8) // 7))]

    def send(self, pieces: Input) -> None:
        """Send the request; the result must be a response, never an exception."""
        answer = exchange(socket.AF_UNIX, str(self.admin), [piece.content for piece in pieces])
        if b"it failed" in answer:
            raise Fault(f"a request fails: {answer.decode(errors='replace')[:200]}")

    def probe(self) -> None:
        """Send a request that is always answered."""
        request = b'{"type":"uncordon","device":"none"}\n'
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PROBE_SECONDS)
            client.connect(str(self.admin))
            client.sendall(request)
            if b"not cordoned" not in client.recv(65_536):
                raise Fault("a valid request gets no valid response")


class HttpRequests(LiveTarget):
    """Requests to the hub's HTTP port."""

    REQUESTS: ClassVar[Sequence[bytes]] = (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /status HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip, br;q=0.5\r\nUser-Agent: x\r\n\r\n",
        b"HEAD /metrics?a=b%20c#d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Type: application/json\r\n\r\n{} ",
        b"POST /readyz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=a\r\nContent-Length: 9\r\n\r\n--a\r\n--a--",
        b"GET /index.html HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\nExpect: 100-continue\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    )
    LAST: ClassVar[bytes] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    def start(self) -> None:
        """Find the port."""
        report = self.directory / "run/dphub.json"
        self.address = wait_until(lambda: _listening(report), "the hub's address")

    def server(self) -> int:
        """Return the hub."""
        return self.hub.pid

    def make(self, choices: Choices) -> Input:
        """Change one to three valid requests, or build one from odd parts."""
        if choices.below(2):
            return [Piece.of(_odd_request(choices))]
        return [Piece.of(edited(choices, choices.of(self.REQUESTS), 2)) for _ in range(1 + choices.below(3))]

    def send(self, pieces: Input) -> None:
        """Send the requests on one connection; nothing may make the server fail."""
        answer = exchange(socket.AF_INET, self.address, [*(piece.content for piece in pieces), self.LAST])
        if failed := re.search(rb"HTTP/1\.[01] (5(?!03)\d\d)", answer):
            raise Fault(f"the hub answers {failed[1].decode()}")

    def probe(self) -> None:
        """Query the hub's liveness, as the kubelet does."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PROBE_SECONDS)
            client.connect(str(self.directory / "run/dphub.http"))
            client.sendall(self.LAST)
            if not client.recv(65_536).startswith(b"HTTP/1.1 200"):
                raise Fault("/healthz does not answer 200")


_METHODS = (b"GET", b"HEAD", b"POST", b"OPTIONS", b"TRACE", b"get")
_PATHS = (
    *(b"/", b"/status", b"/metrics", b"/readyz", b"/healthz", b"/index.html", b"/../../etc/passwd", b"/%2e%2e/%00"),
    *(b"http://localhost/status", b"/status?a[]=%ff&a=1;b", b"/" + b"a" * 9000, b"/\xff", b"//", b"localhost:80"),
)
_HOSTS = (b"localhost", b"localhost", b"[::1]", b"127.0.0.1:9880", b"evil.example", b"a, b", b"", b"\xff")
_FIELDS = (
    *(b"Accept-Encoding: gzip;q=0, *", b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked"),
    *(b"Expect: 100-continue", b"X-Forwarded-For: ::1", b"Cookie: a=b; c", b"Range: bytes=9-1", b"If-None-Match: W/"),
    *(b'Content-Type: multipart/form-data; boundary="', b"Upgrade: h2c\r\nHTTP2-Settings: AAM", b"X: " + b"y" * 20_000),
)


def _odd_request(choices: Choices) -> bytes:
    line = b" ".join((choices.of(_METHODS), choices.of(_PATHS), choices.of((b"HTTP/1.1", b"HTTP/1.0"))))
    fields = [b"Host: " + choices.of(_HOSTS), *(choices.of(_FIELDS) for _ in range(choices.below(3)))]
    return b"\r\n".join((line, *fields, b"", b""))


def _listening(report: Path) -> tuple[str, int] | None:
    if not report.exists():
        return None
    host, _, port = msgspec.json.decode(report.read_bytes(), type=InstanceReport).hub.http.rpartition(":")
    return (host, int(port)) if host else None
