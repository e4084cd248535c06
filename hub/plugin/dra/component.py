"""A client of the DRA process of the same hub, which alone has access to the API server."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from hub.base.changecount import ChangeCounter
from hub.base.log import get_logger
from hub.base.untrusted import UnreadableError, decode_json
from hub.model.dra import LINE_BYTES, ClaimAnswer, ClaimQuery, Publication, PublicationState

CLAIM_SECONDS = 5.0
"""Maximum seconds to read a claim, out of the 45 for which the kubelet waits for a call."""

PUBLISH_SECONDS = 1.0
"""Seconds between publications: health that changes more often is published at this rate."""

CONNECT_SECONDS = 0.2
"""Seconds between attempts to read a claim while the component is being restarted."""

RETRY_SECONDS = 1.0
"""Seconds between attempts to connect: the hub restarts the component within a moment."""

NO_COMPONENT = "the DRA process is not running: it needs a section [watcher:dra] in circus.ini, see docs/dra.md"


class Component:
    """Reads claims, and keeps the devices of a driver published.

    Args:
        path: The component's socket.
        driver: The driver's name.

    Attributes:
        state: The state of the last publication.
        changes: Notified when `state` has changed.
    """

    def __init__(self, path: Path, driver: str) -> None:
        self.state = PublicationState(problem=NO_COMPONENT)
        self.changes = ChangeCounter()
        self._path = path
        self._driver = driver
        self._log = get_logger()

    async def claim(self, namespace: str, name: str, uid: str) -> ClaimAnswer:
        """Return the devices of a claim, or why they are unknown.

        While the DRA process is being restarted, this waits for the next one: the kubelet itself would wait for a
        minute or more before it calls again.
        """
        query = ClaimQuery(namespace, name, uid, self._driver)
        problem = f"the API server did not answer within {CLAIM_SECONDS:g} s"
        with suppress(TimeoutError):
            async with asyncio.timeout(CLAIM_SECONDS):
                while True:
                    try:
                        return await self._ask(query)
                    except (FileNotFoundError, ConnectionRefusedError):
                        problem = NO_COMPONENT
                    except (OSError, UnreadableError, ValueError) as error:
                        problem = f"the DRA process did not answer: {error}"
                    await asyncio.sleep(CONNECT_SECONDS)
        return ClaimAnswer(problem=problem)

    async def _ask(self, query: ClaimQuery) -> ClaimAnswer:
        """Send a query, and return the answer.

        Raises:
            OSError, UnreadableError, ValueError: the component is not there, or has exited, or its answer is too long.
        """
        reader, writer = await asyncio.open_unix_connection(self._path, limit=LINE_BYTES)
        try:
            writer.write(msgspec.json.encode(query) + b"\n")
            return decode_json(await reader.readline(), ClaimAnswer, self._path)
        finally:
            writer.close()

    async def keep_published(self, publication: Callable[[], Publication | None], changed: ChangeCounter) -> None:
        """Keep the devices published, until cancelled.

        Args:
            publication: Returns what should be published now; None if another hub does so.
            changed: Notified when that may have changed.
        """
        while True:
            seen = changed.number
            if publication() is None:
                self._set(PublicationState())
                await changed.wait_beyond(seen)
                continue
            with suppress(OSError):
                await self._publish(publication, changed)
            self._set(PublicationState(problem=NO_COMPONENT))
            await asyncio.sleep(RETRY_SECONDS)

    async def _publish(self, publication: Callable[[], Publication | None], changed: ChangeCounter) -> None:
        """Publish until the component is gone, or there is nothing to publish.

        Raises:
            OSError: there is no component.
        """
        reader, writer = await asyncio.open_unix_connection(self._path, limit=LINE_BYTES)
        try:
            sending = asyncio.ensure_future(self._send(writer, publication, changed))
            reading = asyncio.ensure_future(self._read(reader))
            try:
                await asyncio.wait([sending, reading], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, reading):
                    task.cancel()
                await asyncio.gather(sending, reading, return_exceptions=True)
        finally:
            writer.close()

    async def _send(
        self, writer: asyncio.StreamWriter, publication: Callable[[], Publication | None], changed: ChangeCounter
    ) -> None:
        sent: Publication | None = None
        while True:
            seen = changed.number
            content = publication()
            if content is None:
                return
            if content != sent:
                writer.write(msgspec.json.encode(content) + b"\n")
                await writer.drain()
                sent = content
                await asyncio.sleep(PUBLISH_SECONDS)
            await changed.wait_beyond(seen)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            try:
                self._set(decode_json(line, PublicationState, self._path))
            except UnreadableError as error:
                self._log.error("component answer unreadable", reason=str(error))
                return

    def _set(self, state: PublicationState) -> None:
        if state == self.state:
            return
        if state.problem and state.problem != self.state.problem:
            self._log.warning("devices not published", reason=state.problem)
        elif state.published:
            self._log.info("devices published", pool=state.pool)
        self.state = state
        self.changes.bump()
