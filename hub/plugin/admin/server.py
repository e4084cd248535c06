"""Listens for what an operator asks; see `hub.model.admin`."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from hub.base.log import get_logger
from hub.model.admin import LINE_BYTES, Request, Response

REQUEST_SECONDS = 5.0
"""How long a request may take to arrive."""

Answering = Callable[[Request], Awaitable[Response]]


class AdminServer:
    """A control socket.

    Args:
        path: The socket; None where there is no directory for it.
        answer: Does what is asked.
    """

    def __init__(self, path: Path | None, answer: Answering) -> None:
        self._path = path
        self._answer = answer
        self._serving: set[asyncio.Task[None]] = set()
        self._log = get_logger()

    async def run(self) -> None:
        """Listen until cancelled. A plugin that cannot listen serves its kubelet all the same."""
        if self._path is None:
            return
        try:
            # Of a process that was killed; the hub runs one process of a name at a time.
            self._path.unlink(missing_ok=True)
            server = await asyncio.start_unix_server(self._accept, self._path, limit=LINE_BYTES)
        except OSError as error:
            self._log.error("admin socket failed", file=str(self._path), reason=str(error))
            return
        try:
            # Not serve_forever: from Python 3.12 on it waits for its clients at the end, silent ones too.
            await asyncio.Event().wait()
        finally:
            server.close()
            for serving in self._serving:
                serving.cancel()
            self._path.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Who asked may be gone by the time of the answer.
            with contextlib.suppress(ConnectionError):
                writer.write(msgspec.json.encode(await self._answer_to(reader)) + b"\n")
                await writer.drain()
        finally:
            writer.close()

    async def _answer_to(self, reader: asyncio.StreamReader) -> Response:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                line = await reader.readline()
            request: Request = msgspec.json.decode(line, type=Request)
        except TimeoutError:
            return Response(ok=False, message=f"no request within {REQUEST_SECONDS:g} s")
        except (ValueError, msgspec.DecodeError) as error:
            return Response(ok=False, message=f"no request that a plugin knows: {error}")
        try:
            return await self._answer(request)
        except Exception as error:  # noqa: BLE001 - one bad request must not be the last
            self._log.exception("admin request failed")
            return Response(ok=False, message=f"it failed: {error!r}; the plugin's log has more")
