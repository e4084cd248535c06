"""A client of the fake API server, and objects for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from hub.testing.apiserver import FakeApiServer, Object

NODE, DRIVER = "node-1", "gpu.example.com"
SLICES = "/apis/resource.k8s.io/v1/resourceslices"
CLAIMS = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"


class Answer(NamedTuple):
    """The status code of a response, and its content."""

    status: int
    content: Any

    @property
    def message(self) -> str:
        """What the server says about an error."""
        return str(self.content["message"])


class Client:
    """A client that sends requests with a token."""

    def __init__(self, server: FakeApiServer, token: str) -> None:
        self._server = server
        self._token = token

    async def call(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request, and return the response.

        Raises:
            asyncio.IncompleteReadError: there is no response.
        """
        reader, writer = await self._send(method, path, body)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            return Answer(int(head.split()[1]), json.loads(await reader.read()))
        finally:
            writer.close()

    @asynccontextmanager
    async def watch(self, query: str, path: str = SLICES) -> AsyncIterator["Events"]:
        """Watch objects."""
        reader, writer = await self._send("GET", f"{path}?watch=1&{query}", None)
        await reader.readuntil(b"\r\n\r\n")
        try:
            yield Events(reader)
        finally:
            writer.close()

    async def _send(self, method: str, path: str, body: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        text = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        writer.write(f"{head}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode() + text)
        return reader, writer


class Events:
    """The events of a watch."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def next(self) -> Object | None:
        """Return the next event; None at the end."""
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        line = (await self._reader.readexactly(size + 2))[:-2]
        return json.loads(line) if size else None


@asynccontextmanager
async def api(**options: Any) -> AsyncIterator[tuple[FakeApiServer, Client]]:  # noqa: ANN401 - those of the server
    """Run a server with a node, and yield a client with the token of the node's driver."""
    async with FakeApiServer(**options) as server:
        server.add_node(NODE)
        yield server, Client(server, server.driver_token(NODE))


def device(name: str, **fields: Any) -> Object:  # noqa: ANN401 - JSON
    """Create a device."""
    return {"name": name, **fields}


def resource_slice(*devices: Object, name: str = "s", node: str = NODE, generation: int = 1, count: int = 1) -> Object:
    """Create a slice."""
    pool = {"name": node, "generation": generation, "resourceSliceCount": count}
    spec = {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": list(devices)}
    return {"metadata": {"name": name}, "spec": spec}


def taint(effect: str = "NoSchedule", **fields: str) -> Object:
    """Create a taint."""
    return {"key": f"{DRIVER}/unhealthy", "effect": effect, **fields}
