"""An API server with the few objects that the agent uses, over TLS, with faults on request."""

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from hub.apiserver.account import HOST_VARIABLE, PORT_VARIABLE, Account

Object = dict[str, Any]
NODE = "node-1"
TOKEN = "token-1"  # noqa: S105 - of a test
_ADDRESS = "127.0.0.1"


class Request(NamedTuple):
    """A request that the server has received."""

    method: str
    path: str
    body: Any
    status: int
    time: float


class Fault(NamedTuple):
    """The server's response in place of what the request asks for."""

    status: int
    headers: Mapping[str, str] = {}
    hang: bool = False
    lose: bool = False
    """Whether the request takes effect but the response is lost."""
    method: str = ""
    """The method of the requests that the fault affects; empty for any."""


class FakeApiServer:
    """An API server with one node. `async with` starts it.

    Args:
        directory: The directory for its certificate and the files of the service account.
    """

    def __init__(self, directory: Path) -> None:
        self.account_dir = directory / "account"
        self.account_dir.mkdir()
        make_certificate(directory)
        shutil.copy(directory / "server.crt", self.account_dir / "ca.crt")
        self.write_token(TOKEN)
        self.tokens = {TOKEN}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.denied: set[tuple[str, str]] = set()
        """The methods of requests that are forbidden, and the ends of their paths."""
        self.port = 0
        self.events: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.node: Object = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": NODE, "uid": "uid-of-node-1", "resourceVersion": "1", "annotations": {}},
            "spec": {},
            "status": {
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
                "allocatable": {},
            },
        }
        self._directory = directory
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a process finds the server."""
        return {HOST_VARIABLE: _ADDRESS, PORT_VARIABLE: str(self.port)}

    @property
    def conditions(self) -> dict[str, Object]:
        """The conditions of the node, by type."""
        return {each["type"]: each for each in self.node["status"]["conditions"]}

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of the node."""
        found: dict[str, str] = self.node["metadata"]["annotations"]
        return found

    def account(self) -> Account:
        """Return the service account."""
        return Account(self.account_dir, self.environment)

    def write_token(self, token: str) -> None:
        """Replace the token in the file."""
        scratch = self.account_dir / ".token"
        scratch.write_text(token)
        scratch.replace(self.account_dir / "token")

    def events_about(self, kind: str) -> list[Object]:
        """Return the events about objects of a kind, in the order in which they were created."""
        return [each for each in self.events.values() if each["regarding"]["kind"] == kind]

    def add_pod(self, namespace: str, name: str) -> None:
        """Create a pod."""
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-of-{name}"}
        self.pods[f"/api/v1/namespaces/{namespace}/pods/{name}"] = {"kind": "Pod", "metadata": metadata}

    def annotate(self, **annotations: str | None) -> None:
        """Change annotations in the domain of the hub, as an administrator does with kubectl."""
        merge(self.annotations, {f"dphub.dev/{name}": value for name, value in annotations.items()})
        self.touch()

    def touch(self) -> None:
        """Increment the node's resource version, so that watches report a change."""
        self.node["metadata"]["resourceVersion"] = str(int(self.node["metadata"]["resourceVersion"]) + 1)
        self._changed.set()
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Listen; after a stop, listen on the same port again."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._directory / "server.crt", self._directory / "server.key")
        self._server = await asyncio.start_server(self._connected, _ADDRESS, self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop, and close all connections."""
        if self._server:
            self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        method, target, _ = first.split()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        fault = self._next_fault(method)
        if "watch=true" in target and not fault:
            self._record(method, target, None, 200)
            await self._watch(writer, parse_qs(urlsplit(target).query))
            return
        content = json.loads(body) if body else None
        if fault and fault.hang:
            self._record(method, target, content, 0)
            await asyncio.Event().wait()
        if fault and not fault.lose:
            status, answer = fault.status, _status(fault.status, "a fault that the test has set")
        else:
            status, answer = self._answer(method, unquote(urlsplit(target).path), content, headers)
        self._record(method, target, content, status)
        if fault and fault.lose:
            return
        text = json.dumps(answer).encode()
        extra = "".join(f"{name}: {value}\r\n" for name, value in (fault.headers if fault else {}).items())
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n{extra}\r\n".encode() + text)
        await writer.drain()

    def _record(self, method: str, target: str, body: object, status: int) -> None:
        self.requests.append(Request(method, target, body, status, asyncio.get_running_loop().time()))

    async def _watch(self, writer: asyncio.StreamWriter, query: Mapping[str, list[str]]) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        seen = query["resourceVersion"][0]
        while True:
            changed = self._changed
            if self.node["metadata"]["resourceVersion"] != seen:
                seen = self.node["metadata"]["resourceVersion"]
                event = {"type": "MODIFIED", "object": {"metadata": self.node["metadata"]}}
                line = json.dumps(event).encode() + b"\n"
                writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                await writer.drain()
            await changed.wait()

    def _next_fault(self, method: str) -> Fault | None:
        if self.faults and self.faults[0].method in ("", method):
            return self.faults.pop(0)
        return None

    def _answer(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Object]:  # noqa: ANN401 - JSON
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return 401, _status(401, "Unauthorized")
        if any(method == verb and path.endswith(end) for verb, end in self.denied):
            return 403, _status(403, f"forbidden: {method} {path}")
        kind = headers.get("content-type", "")
        known = {f"/api/v1/nodes/{NODE}": self.node, **self.pods}
        if method == "GET" and path in known:
            return 200, known[path]
        if method == "POST" and path.endswith("/events"):
            return self._create_event(f"{path}/{body['metadata']['name']}", body)
        if method == "PATCH":
            return self._patch(path, body, kind)
        return 404, _status(404, f"there is no {path}")

    def _patch(self, path: str, body: Any, kind: str) -> tuple[int, Object]:  # noqa: ANN401 - JSON
        if path == f"/api/v1/nodes/{NODE}/status":
            return self._patch_status(body, kind)
        if path == f"/api/v1/nodes/{NODE}":
            return self._patch_node(body, kind)
        if path in self.events:
            merge(self.events[path], body)
            return 200, self.events[path]
        return 404, _status(404, f"there is no {path}")

    def _create_event(self, path: str, body: Object) -> tuple[int, Object]:
        if path in self.events:
            return 409, _status(409, "it exists")
        self.events[path] = body
        return 201, body

    def _patch_status(self, body: Object, kind: str) -> tuple[int, Object]:
        assert kind == "application/strategic-merge-patch+json"
        known = self.conditions
        for each in body["status"]["conditions"]:
            if each.get("$patch") == "delete":
                known.pop(each["type"], None)
            else:
                known[each["type"]] = {**known.get(each["type"], {}), **each}
        self.node["status"]["conditions"] = list(known.values())
        self.touch()
        return 200, self.node

    def _patch_node(self, body: Any, kind: str) -> tuple[int, Object]:  # noqa: ANN401 - JSON
        if kind == "application/merge-patch+json":
            merge(self.node, body)
        else:
            assert kind == "application/json-patch+json"
            if not _apply(self.node, body):
                return 422, _status(422, "the test of the patch failed")
        self.touch()
        return 200, self.node


def make_certificate(directory: Path) -> None:
    """Create a self-signed certificate; skip the test if the program for that is missing."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    files = ["-keyout", directory / "server.key", "-out", directory / "server.crt"]
    name = ["-addext", f"subjectAltName=IP:{_ADDRESS}"]
    subprocess.run(["openssl", *words.split(), *name, *files], capture_output=True, check=True)


def merge(target: Object, change: Mapping[str, Any]) -> None:
    """Apply a merge patch."""
    for key, value in change.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def _apply(target: Object, patch: list[Object]) -> bool:
    """Apply a JSON patch that tests and removes values; return whether the tests succeeded."""
    for step in patch:
        *parents, last = step["path"].strip("/").split("/")
        place: Any = target
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place.get(key, {})
        index: Any = int(last) if isinstance(place, list) else last
        if step["op"] == "test":
            known = place[index] if (not isinstance(place, list) or index < len(place)) else None
            if known != step["value"]:
                return False
        else:
            assert step["op"] == "remove"
            del place[index]
    return True


def _status(code: int, message: str) -> Object:
    return {"kind": "Status", "code": code, "message": message}
