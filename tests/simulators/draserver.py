"""An API server with ResourceSlices and ResourceClaims, over TLS."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from tests.simulators.apiserver import FakeApiServer, Object
from tests.simulators.drastore import DraStore

_GROUP = "/apis/resource.k8s.io/"


class DraApiServer(FakeApiServer):
    """The server of the agent's tests, with the objects of dynamic resource allocation.

    Args:
        directory: The directory for its certificate and the files of the service account.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.store = DraStore()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split("\r\n", 1)[0].split()
        replayed = asyncio.StreamReader()
        replayed.feed_data(head.encode())
        length = next((line for line in head.lower().split("\r\n") if line.startswith("content-length")), "0")
        replayed.feed_data(await reader.readexactly(int(length.rpartition(":")[2])))
        replayed.feed_eof()
        if _GROUP in target and "watch=1" in target and not self.faults:
            self._record(method, target, None, 200)
            await self._send_events(writer, target)
        else:
            await super()._serve(replayed, writer)

    async def _send_events(self, writer: asyncio.StreamWriter, target: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        since = target.partition("resourceVersion=")[2].partition("&")[0]
        async with aclosing(self.store.watch(since)) as events:
            async for event in events:
                line = json.dumps(event).encode() + b"\n"
                writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                await writer.drain()

    def _answer(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Object]:  # noqa: ANN401 - JSON
        code, answer = super()._answer(method, path, body, headers)
        if code == 404 and path.startswith(_GROUP):
            return self.store.request(method, path, body)
        return code, answer
