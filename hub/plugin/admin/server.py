"""The server for an administrator's commands; see `hub.model.admin`."""

import asyncio
import contextlib
from pathlib import Path

import msgspec

from hub.base.log import get_logger
from hub.base.removal import clear_path
from hub.base.untrusted import UnreadableError, decode_json
from hub.model.admin import LINE_BYTES, Request, Response
from hub.plugin.admin.commands import AdminCommands

REQUEST_TIMEOUT = 5.0
"""Seconds within which a request must arrive."""


class AdminServer:
    """A unix socket that takes one request per connection.

    Args:
        path: The socket; None if there is no directory for it.
        commands: Runs the requests.
    """

    def __init__(self, path: Path | None, commands: AdminCommands) -> None:
        self._path = path
        self._commands = commands
        self._connections: set[asyncio.Task[None]] = set()
        self._log = get_logger()

    async def run(self) -> None:
        """Listen until cancelled. A plugin that cannot listen still serves the kubelet.

        Raises:
            OSError: the socket cannot be created.
        """
        if self._path is None:
            await asyncio.Event().wait()
            return
        # A killed process may have left the socket behind; the hub runs only one process of each name at a time.
        clear_path(self._path)
        server = await asyncio.start_unix_server(self._accept, self._path, limit=LINE_BYTES)
        try:
            # Not serve_forever: since Python 3.12 it waits at the end for all clients, even silent ones.
            await asyncio.Event().wait()
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            self._path.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # The client may be gone by the time the response is ready.
            with contextlib.suppress(ConnectionError):
                writer.write(msgspec.json.encode(await self._respond(reader)) + b"\n")
                await writer.drain()
        finally:
            writer.close()

    async def _respond(self, reader: asyncio.StreamReader) -> Response:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                line = await reader.readline()
            request: Request = decode_json(line, Request, "request")
        except TimeoutError:
            return Response(ok=False, message=f"no request within {REQUEST_TIMEOUT:g} s")
        except ValueError as error:
            return Response(ok=False, message=f"unrecognized request: {error}")
        except UnreadableError as error:
            return Response(ok=False, message=f"unrecognized request: {error.problem}")
        try:
            return await self._commands.answer(request)
        except Exception as error:  # noqa: BLE001 - one bad request must not end the server
            self._log.exception("admin request failed")
            return Response(ok=False, message=f"the command failed: {error!r}; see the plugin's log")
