"""What a broken cluster may return to `kubectl dphub`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from hub.cli.fleet import cli, options
from hub.cli.fleet.kubectl import CommandOutput, Kubectl
from hub.cli.fleet.proxy import Response, _response
from hub.model.history import NodeHistory
from tests.fuzz.choices import Choices, edited, edited_json
from tests.fuzz.pieces import Input, Piece
from tests.fuzz.target import Fault, Target
from tests.fuzz.targets.samples import HISTORY, NODE_STATUS, control_character
from tests.simulators.podproxy import forbidden, pod

PODS: Mapping[str, Any] = {
    "kind": "PodList",
    "metadata": {"resourceVersion": "7"},
    "items": [pod("hub-a", "node-1"), pod("hub-b", "node-1"), pod("hub-c", "node-2", waiting="CrashLoopBackOff")],
}
PAGES: Mapping[str, bytes] = {
    "/status": msgspec.json.encode(NODE_STATUS),
    "/history": msgspec.json.encode(NodeHistory({"stub": HISTORY.allocations}, {"gpu": "unreadable"})),
}
ERROR = forbidden("pods/proxy")


class _Proxy:
    """A proxy that reads responses from memory instead of from kubectl's socket."""

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        self._answers = answers

    def get(self, path: str, *, max_bytes: int, **_others: float) -> Response:
        """Read the response to a request."""
        return _response(self._answers["page" if "/proxy/" in path else "pods"], max_bytes)

    def close(self) -> None:
        """Do nothing."""


class _Kubectl(Kubectl):
    """A kubectl that runs nothing in a pod."""

    output: ClassVar[bytes] = b""

    def exec_in(self, *_words: object, **_limits: object) -> CommandOutput:
        """Return what a command prints: a response or, if it begins with an E, an error."""
        return CommandOutput(self.output.startswith(b"E"), self.output, self.output.decode(errors="replace").strip())


class FleetAnswers(Target):
    """Commands print any response, or why it is invalid, without exceptions and control characters."""

    inputs = 350
    COMMANDS: ClassVar[Sequence[Sequence[str]]] = (
        ("status",),
        ("status", "--json"),
        ("status", "--health", "unhealthy"),
        ("devices",),
        ("devices", "--json"),
        ("problems",),
        ("holders",),
        ("history",),
        ("history", "--json"),
        ("cordon", "node-1", "stub-0"),
    )

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._real = options.Proxy, options.Kubectl
        self._answers: dict[str, bytes] = {}
        _replace(lambda _kubectl: _Proxy(self._answers), _Kubectl)

    def make(self, choices: Choices) -> Input:
        """Choose a command, and change one of the responses."""
        number = choices.below(len(self.COMMANDS))
        name = choices.of(("page", "page", "pods", "exec"))
        page = PAGES["/history" if self.COMMANDS[number][0] == "history" else "/status"]
        body = msgspec.json.encode(PODS) if name == "pods" else page
        if choices.below(3):
            body = edited_json(choices, msgspec.json.decode(body))
        content = body if name == "exec" else _answer(choices, body)
        if choices.below(3) == 2:
            content = edited(choices, content, 2)
        pieces = [Piece(str(number), "command"), Piece.of(content, name)]
        return pieces if name != "exec" else [*pieces, Piece("HTTP/1.0 503 x\r\n\r\nno endpoints", "page")]

    def consume(self, pieces: Input) -> None:
        """Run the command."""
        command, *answers = pieces
        words = self.COMMANDS[int(command.text)]
        page = PAGES["/history" if words[0] == "history" else "/status"]
        valid = {"pods": msgspec.json.encode(PODS), "page": page}
        self._answers.clear()
        self._answers |= {name: b"HTTP/1.0 200 OK\r\n\r\n" + body for name, body in valid.items()}
        self._answers |= {piece.name: piece.content for piece in answers}
        _Kubectl.output = self._answers.get("exec", b"E no such container")
        printed = self.directory / "printed"
        # This must be a real file, because a command that cannot write replaces its descriptor.
        with (
            printed.open("w", encoding="utf-8") as out,
            redirect_stdout(out),
            redirect_stderr(out),
            suppress(SystemExit),
        ):
            cli.main([*words, "--parallel", "1"], prog_name="kubectl dphub")
        if "--json" not in words and (found := control_character(printed.read_text(encoding="utf-8"))):
            raise Fault(f"kubectl dphub {words[0]} prints the control character {found!r}")

    def close(self) -> None:
        """Restore the real kubectl."""
        _replace(*self._real)


def _replace(proxy: Callable[..., Any], kubectl: Callable[..., Any]) -> None:
    options.Proxy, options.Kubectl = proxy, kubectl  # type: ignore[assignment,misc] # stand-ins


def _answer(choices: Choices, body: bytes) -> bytes:
    head = choices.of(
        (b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.0 403 Forbidden", b"HTTP/1.0 404 x", b"HTTP/1.0 500")
    )
    if head.endswith(b"Forbidden"):
        body = ERROR.body.encode()
    length = b"\r\nContent-Length: %d" % len(body) if choices.below(2) else b""
    return b"%b\r\nContent-Type: application/json%b\r\n\r\n%b" % (head, length, body)
