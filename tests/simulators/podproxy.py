"""A stand-in for the part of the API server that `kubectl dphub` uses: the list of pods, and the pages of their hubs.

The responses are in a file, which is read for each request; see `Scenario`.
"""

import asyncio
import gzip
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

NAMESPACE = "device-plugin-hub"

HUGE = 20 << 20
_FORBIDDEN = 403
_NOT_FOUND = 404
_MISDIRECTED = 421


class Answer(msgspec.Struct, frozen=True):
    """The response from one hub to a request."""

    body: str = ""
    code: int = 200
    delay: float = 0.0
    """Seconds until the response."""
    mode: str = ""
    """The kind of fault. hang: never; drip: byte by byte, endlessly; huge: endless; raw: the body is not UTF-8;
    bomb: compressed; short: without the end."""


class Scenario(msgspec.Struct):
    """A cluster."""

    pods: list[dict[str, Any]] = []
    """The pods, as the API server lists them."""
    pages: dict[str, Answer] = {}
    """Responses, by "POD PAGE"; for a page that is not here, the API server answers that it does not exist."""
    execs: dict[str, Answer] = {}
    """The output of `kubectl exec`, by "POD PAGE"; the code is its exit code."""
    listed: Answer = Answer()
    """The response to a request for the list of pods; if its body is empty, the list is sent instead."""
    proxy_error: str = ""
    """The error with which `kubectl proxy` fails."""
    hosts: list[str] = []
    """The names by which a request may address a hub; empty for any name."""


def pod(name: str, node: str, *, created: str = "2026-01-01T00:00:00Z", waiting: str = "") -> dict[str, Any]:
    """Create the pod of a hub."""
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {
        "metadata": {"name": name, "creationTimestamp": created},
        "spec": {"nodeName": node, "containers": [{"name": "hub", "ports": [{"name": "http", "containerPort": 9880}]}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "hub", "state": state}]},
    }


def forbidden(resource: str, verb: str = "get") -> Answer:
    """Create the response to a user who lacks a permission."""
    message = f'pods "x" is forbidden: User "me" cannot {verb} resource "{resource}" in API group "" in the namespace'
    return Answer(json.dumps({"kind": "Status", "message": f'{message} "{NAMESPACE}"'}), _FORBIDDEN)


def read(path: Path) -> Scenario:
    """Read a scenario."""
    return msgspec.json.decode(path.read_bytes(), type=Scenario)


class ApiServer:
    """A server that answers requests.

    Args:
        scenario: The file with the scenario.
    """

    def __init__(self, scenario: Path) -> None:
        self._path = scenario
        self._known: tuple[int, Scenario] = 0, Scenario()
        self.requests: list[tuple[str, Mapping[str, str]]] = []

    def _scenario(self) -> Scenario:
        version = self._path.stat().st_mtime_ns
        if self._known[0] != version:
            self._known = version, read(self._path)
        return self._known[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) and await self._answer(head.decode(), writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> bool:
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        _, url, version = first.split()
        self.requests.append((url, headers))
        answer = find(self._scenario(), url, headers)
        await asyncio.sleep(answer.delay)
        keeps = version == "HTTP/1.1"
        await _write(writer, answer, keeps=keeps, compressed="gzip" in headers.get("accept-encoding", ""))
        return keeps


def find(scenario: Scenario, url: str, headers: Mapping[str, str]) -> Answer:
    """Return the response to a request."""
    path, _, _ = url.partition("?")
    if path == f"/api/v1/namespaces/{NAMESPACE}/pods":
        listed = scenario.listed
        return listed if listed.body else msgspec.structs.replace(listed, body=json.dumps({"items": scenario.pods}))
    if path.startswith("/api/v1/namespaces/") and path.endswith("/pods"):
        return Answer('{"items": []}')
    name, _, page = path.removeprefix(f"/api/v1/namespaces/{NAMESPACE}/pods/").partition(":9880/proxy")
    # The real API server passes the name by which the client addresses it on to the pod.
    if scenario.hosts and headers.get("host") not in scenario.hosts and "sec-dphub" not in headers:
        return Answer("the hub is not known by this name\n", _MISDIRECTED)
    missing = Answer(json.dumps({"kind": "Status", "message": f'pods "{name}" not found'}), _NOT_FOUND)
    return scenario.pages.get(f"{name} {page}", missing)


async def _write(writer: asyncio.StreamWriter, answer: Answer, *, keeps: bool, compressed: bool) -> None:
    if answer.mode == "hang":
        await asyncio.sleep(3600)
    body = b"\xff\xfe" + answer.body.encode() if answer.mode == "raw" else answer.body.encode()
    if answer.mode == "bomb":
        body = b" " * HUGE
    compressed = compressed and len(body) > 1024
    body = gzip.compress(body, 1) if compressed else body
    lines = [f"HTTP/1.1 {answer.code} Text", "Content-Type: application/json"]
    lines += ["Content-Encoding: gzip"] if compressed else []
    if answer.mode in {"drip", "huge"}:
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        while True:
            writer.write(b" " * (1 if answer.mode == "drip" else 1 << 20))
            await writer.drain()
            await asyncio.sleep(0.01)
    lines += [f"Content-Length: {len(body)}", *([] if keeps else ["Connection: close"])]
    writer.write("\r\n".join([*lines, "", ""]).encode() + (body[:-1] if answer.mode == "short" else body))
    await writer.drain()


async def _main(scenario: Path) -> None:
    """Serve on a free port of the loopback interface, and print the port."""
    server = await asyncio.start_server(ApiServer(scenario).serve, "127.0.0.1", backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - for the process that started this
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
