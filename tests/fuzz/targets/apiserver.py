"""What a broken API server may return to a node's agent, and what annotations may contain."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec

from hub.agent.annotationcordons import WANTED, Cordons
from hub.agent.conditionwriter import ConditionWriter
from hub.agent.eventwriter import EventWriter
from hub.agent.node import NodeObject
from hub.agent.settings import AgentSettings
from hub.agent.startuptaint import StartupTaint
from hub.apiserver.client import ApiClient
from hub.apiserver.http import MAX_HEAD
from hub.apiserver.ratelimit import RateLimit
from hub.base.changecount import ChangeCounter
from hub.base.paths import RunDir
from tests.fuzz.choices import Choices, edited, edited_json
from tests.fuzz.pieces import Input, Piece
from tests.fuzz.target import Target
from tests.fuzz.targets.samples import NODE_STATUS

NODE_PATH = "/api/v1/nodes/node-1"

NODE: Mapping[str, Any] = {
    "kind": "Node",
    "apiVersion": "v1",
    "metadata": {
        "name": "node-1",
        "uid": "5d1c",
        "resourceVersion": "7",
        "annotations": {WANTED: "card-0, example.com/stub stub-1,stub-9", "dphub.dev/cordoned": "card-0"},
    },
    "spec": {"taints": [{"key": "example.com/devices", "effect": "NoSchedule"}, {"key": "x", "effect": "NoExecute"}]},
    "status": {
        "allocatable": {"example.com/stub": "2", "cpu": "8"},
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady"},
            {
                "type": "StubDevicesHealthy",
                "status": "False",
                "reason": "DphubDevicesUnhealthy",
                "message": "1 device is unhealthy",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            },
        ],
    },
}
POD: Mapping[str, Any] = {"kind": "Pod", "metadata": {"name": "trainer", "namespace": "default", "uid": "9f"}}
CHANGES: Sequence[Mapping[str, Any]] = (
    {"type": "ADDED", "object": NODE},
    {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}},
    {"type": "MODIFIED", "object": NODE},
    {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}},
)
ERROR: Mapping[str, Any] = {"kind": "Status", "code": 429, "message": "slow down", "reason": "TooManyRequests"}

NAMES = (
    *(
        "card-0",
        "stub-0",
        "stub-1",
        "example.com/stub stub-1",
        "0000:07:00.0",
        "07:00.0",
        "mlx5_0",
        "GPU-0000",
        "s",
        "",
    ),
    *(" ", "\0", "\x1b[2J", "\u202e", "card-0\n", "stub", "a" * 400, "/", "..", "stub-7", "0"),
)


def response(body: bytes, choices: Choices, status: str = "200 OK") -> bytes:
    """Create a response, in one of the three forms that HTTP has."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nRetry-After: 2\r\n".encode()
    match choices.below(3):
        case 0:
            return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        case 1:
            size = 1 + choices.below(len(body) + 1)
            parts = [body[begin : begin + size] for begin in range(0, len(body), size)]
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        case _:
            return head + b"\r\n" + body


class _Client(ApiClient):
    """A client that reads responses from memory instead of from a TLS connection."""

    def __init__(self) -> None:
        account: Any = SimpleNamespace(host="::1", port=443, token=lambda: "token")
        super().__init__(account, RateLimit(1e9))
        self.answers: Mapping[str, bytes] = {}
        self._next = b""

    def _request(self, method: str, path: str, *others: Any) -> bytes:  # noqa: ANN401 - passed on unchanged
        place = path.partition("?")[0].rpartition("/")[2] if method == "GET" else method
        self._next = self.answers[
            {"nodes": "watch", "node-1": "node", "PATCH": "patch", "POST": "post"}.get(place, "pod")
        ]
        return super()._request(method, path, *others)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, Any]]:
        reader = asyncio.StreamReader(limit=MAX_HEAD)
        reader.feed_data(self._next)
        reader.feed_eof()
        yield reader, _Writer()


class _Writer:
    def write(self, request: bytes) -> None:
        """Send nothing."""

    async def drain(self) -> None:
        """Do nothing."""


class ApiAnswers(Target):
    """Responses to each request of the agent, which acts on them, or gets an error and tries again later."""

    inputs = 600
    SETTINGS: ClassVar[AgentSettings] = AgentSettings(startup_taint="example.com/devices")

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._runner = asyncio.Runner()
        self._run_dir = RunDir(directory)
        self._client = _Client()
        self._valid = {
            "node": msgspec.json.encode(NODE),
            "watch": b"\n".join(map(msgspec.json.encode, CHANGES)) + b"\n",
            "pod": msgspec.json.encode(POD),
            "patch": msgspec.json.encode(NODE),
            "post": msgspec.json.encode(ERROR),
        }

    def make(self, choices: Choices) -> Input:
        """Change one of the responses: the object, the annotation or the bytes of HTTP."""
        name = choices.of([*self._valid, "node", "watch"])
        match choices.below(4):
            case 0 if name == "watch":
                body = msgspec.json.encode({"type": "MODIFIED", "object": _annotated(choices)}) + b"\n"
            case 1 | 2 if name != "watch":
                body = edited_json(choices, msgspec.json.decode(self._valid[name]))
            case 1 | 2:
                changes = list(CHANGES)
                number = choices.below(len(changes))
                lines = [msgspec.json.encode(change) for change in changes]
                lines[number] = edited_json(choices, changes[number])
                body = b"\n".join(lines)
            case _:
                body = self._valid[name]
        status = choices.of(("200 OK", "201 Created", "200", "409 Conflict", "429 Too Many Requests", "500 x"))
        content = response(body, choices, status)
        return [Piece.of(edited(choices, content, 2) if choices.below(3) == 2 else content, name)]

    def consume(self, pieces: Input) -> None:
        """Run each task of the agent once."""
        choices = Choices(b"")
        self._client.answers = {name: response(body, choices) for name, body in self._valid.items()}
        self._client.answers |= {piece.name: piece.content for piece in pieces}
        self._runner.run(self._run())

    async def _run(self) -> None:
        changes = ChangeCounter()
        view: Any = SimpleNamespace(status=NODE_STATUS, is_active=lambda: True)
        node = NodeObject(self._client, "node-1", changes)
        events = EventWriter(self._client, node, view, changes, self._run_dir)
        cordons = Cordons(self._client, node, view, changes, run_dir=self._run_dir, events=events)
        conditions = ConditionWriter(self.SETTINGS, self._client, node, view, changes)
        taint = StartupTaint(self.SETTINGS, self._client, node, view, changes)
        for work in (node.watch, cordons.update, conditions.write, taint.look, events._look, conditions.remove):
            try:
                await work()
            except self.declared:
                continue

    def close(self) -> None:
        """Close the event loop."""
        self._runner.close()


def _annotated(choices: Choices) -> Mapping[str, Any]:
    names = [choices.of(NAMES) for _ in range(1 + choices.below(8))]
    text = choices.of((",", ", ", ",,", "\n,")).join(names * choices.of((1, 1, 1, 400)))
    return NODE | {"metadata": NODE["metadata"] | {"annotations": {WANTED: text}}}
