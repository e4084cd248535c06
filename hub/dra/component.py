"""The DRA process from start to stop: it answers the plugin processes of its hub on a unix socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec

from hub.apiserver.account import Account
from hub.apiserver.client import ApiClient
from hub.apiserver.ratelimit import RateLimit
from hub.base.exits import Exit
from hub.base.log import get_logger
from hub.base.paths import RunDir
from hub.base.removal import clear_path
from hub.base.statusfile import StatusFile
from hub.base.stopsignals import stop_event
from hub.base.tasks import Tasks
from hub.base.untrusted import UnreadableError, decode_json
from hub.dra.claims import read_claim
from hub.dra.publisher import Publisher
from hub.model.dra import LINE_BYTES, ClaimAnswer, ClaimQuery, Message, Publication, PublicationState

CLAIMS_PER_SECOND = 20.0
CLAIMS_BURST = 100
"""A node starts a few pods per second. Claims have a client of their own, so that no slice delays a pod."""

SLICES_PER_SECOND = 5.0
SLICES_BURST = 20


class DraComponent:
    """Reads claims, and publishes devices.

    Args:
        account: The service account.
        run_dir: The run directory, and the component's hub.
        node: The node's name.
    """

    def __init__(self, account: Account, run_dir: RunDir, node: str) -> None:
        self._claims = ApiClient(account, RateLimit(CLAIMS_PER_SECOND, CLAIMS_BURST), timeout=4.0)
        self._slices = ApiClient(account, RateLimit(SLICES_PER_SECOND, SLICES_BURST))
        self._path = run_dir.dra_socket
        self._node = node
        self._tasks = Tasks(StatusFile(None, lambda: None))
        self._connections: set[asyncio.Task[None]] = set()
        self._publishing: dict[str, asyncio.Task[None]] = {}
        self._log = get_logger()

    async def run(self) -> Exit:
        """Run until a signal stops it."""
        stopped = stop_event()
        async with self.listening():
            self._log.info("component started", node=self._node)
            await stopped.wait()
        self._log.info("component stopped")
        return Exit.OK

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Answer on the socket until the block ends. Slices stay as they are.

        Raises:
            OSError: the socket cannot be created.
        """
        # A process that was killed may have left it behind; the hub runs only one process of each name at a time.
        clear_path(self._path)
        server = await asyncio.start_unix_server(self._accept, self._path, limit=LINE_BYTES)
        try:
            yield
        finally:
            server.close()
            for connection in list(self._connections):
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            self._path.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                message = await self._read(reader)
                if isinstance(message, ClaimQuery):
                    _send(writer, await read_claim(self._claims, message))
                    await writer.drain()
                elif message is not None:
                    await self._publish(message, reader, writer)
        except UnreadableError as error:
            self._log.error("request unreadable", reason=str(error))
            _send(writer, ClaimAnswer(problem=error.problem))
        finally:
            writer.close()

    async def _publish(self, first: Publication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Publish until the plugin process closes the connection, or a newer process of the driver opens another.

        Raises:
            UnreadableError: a line is not a publication.
        """
        last: PublicationState | None = None

        def report(state: PublicationState) -> None:
            nonlocal last
            if state != last:
                last = state
                _send(writer, state)

        publisher = Publisher(self._slices, self._node, first.driver, report)
        publisher.publish(first)
        if previous := self._publishing.pop(first.driver, None):
            previous.cancel()
        task = asyncio.ensure_future(self._tasks.run(f"publication of {first.driver}", publisher.run))
        self._publishing[first.driver] = task
        try:
            while isinstance(message := await self._read(reader), Publication):
                publisher.publish(message)
        finally:
            task.cancel()
            if self._publishing.get(first.driver) is task:
                del self._publishing[first.driver]

    async def _read(self, reader: asyncio.StreamReader) -> Message | None:
        """Return the next message; None at the end.

        Raises:
            UnreadableError: it is not a message.
        """
        try:
            line = await reader.readline()
        except ValueError:
            raise UnreadableError("request", f"longer than {LINE_BYTES} bytes") from None
        if not line:
            return None
        message: Message = decode_json(line, Message, "request")
        return message


def _send(writer: asyncio.StreamWriter, answer: ClaimAnswer | PublicationState) -> None:
    if not writer.is_closing():
        writer.write(msgspec.json.encode(answer) + b"\n")
