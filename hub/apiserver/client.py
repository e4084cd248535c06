"""Calls to the API server. Each has a connection of its own: a node makes few, and none can wait for another."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from hub._version import __version__
from hub.apiserver.account import Account
from hub.apiserver.errors import ApiError
from hub.apiserver.http import MAX_HEAD, ProtocolError, body_parts, encode_request, lines_of, read_body, read_head
from hub.apiserver.ratelimit import RateLimit
from hub.base.log import get_logger
from hub.base.printable import printable
from hub.base.untrusted import UnreadableError

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""The server then leaves out the specification and the status of an object."""

TIMEOUT = 10.0
"""Seconds for a request, from the connection to the last byte of the answer."""

_LONGEST_REASON = 500
_SUCCESS = range(200, 300)

Object = dict[str, Any]
"""An object of the API."""


class ApiClient:
    """Calls the API server.

    Args:
        account: The service account.
        limit: The limit to the rate of requests.
        timeout: Seconds for a request.
    """

    def __init__(self, account: Account, limit: RateLimit | None = None, *, timeout: float = TIMEOUT) -> None:
        self._account = account
        self._limit = limit or RateLimit()
        self._timeout = timeout
        self._failed_at: float | None = None
        self._log = get_logger()

    async def get(self, path: str, accept: str = JSON) -> Object:
        """Return an object.

        Raises:
            ApiError: the call failed.
        """
        return await self._call("GET", path, accept=accept)

    async def create(self, path: str, content: Object) -> Object:
        """Create an object in a collection, and return it.

        Raises:
            ApiError: the call failed.
        """
        return await self._call("POST", path, content, JSON)

    async def replace(self, path: str, content: Object) -> Object:
        """Replace an object, and return it.

        Raises:
            ApiError: the call failed; with 409, the object is not the version that the content names.
        """
        return await self._call("PUT", path, content, JSON)

    async def delete(self, path: str, options: Object) -> None:
        """Delete an object.

        Args:
            path: The object.
            options: Conditions for it.

        Raises:
            ApiError: the call failed.
        """
        await self._call("DELETE", path, options, JSON)

    async def patch(self, path: str, content: object, kind: str) -> Object:
        """Change an object, and return it.

        Args:
            path: The object.
            content: The patch.
            kind: The media type of the patch.

        Raises:
            ApiError: the call failed.
        """
        return await self._call("PATCH", path, content, kind)

    async def watch(self, path: str, seconds: float, accept: str = JSON) -> AsyncGenerator[Object, None]:
        """Yield the events of a watch, until the server ends it.

        Args:
            path: The collection, with the query of the watch.
            seconds: The time after which the server ends it; a connection that stays open for longer is dead.
            accept: The form of the objects.

        Raises:
            ApiError: the watch could not begin, or ended before its time.
        """
        await self._limit.wait()
        try:
            request = self._request("GET", path, accept)
            async with asyncio.timeout(seconds + self._timeout), self._connected() as (reader, writer):
                async with asyncio.timeout(self._timeout):
                    headers = await self._begin(reader, writer, request)
                async for line in lines_of(body_parts(reader, headers)):
                    yield _decode(line)
        except _FAILURES as error:
            raise self._failed(_no_answer(error)) from None

    async def _call(
        self, method: str, path: str, content: object = None, kind: str = JSON, *, accept: str = JSON
    ) -> Object:
        await self._limit.wait()
        try:
            request = self._request(method, path, accept, content, kind)
            async with asyncio.timeout(self._timeout), self._connected() as (reader, writer):
                answer = await self._begin(reader, writer, request)
                return _decode(await read_body(reader, answer))
        except _FAILURES as error:
            raise self._failed(_no_answer(error)) from None

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(
            self._account.host, self._account.port, ssl=self._account.context(), limit=MAX_HEAD
        )
        try:
            yield reader, writer
        finally:
            # Without waiting for the server, which may be gone.
            writer.transport.abort()

    async def _begin(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> Mapping[str, str]:
        """Send a request, and return the headers of the answer, whose body follows.

        Raises:
            ApiError: the server reports an error.
        """
        writer.write(request)
        await writer.drain()
        status, answer = await read_head(reader)
        if status not in _SUCCESS:
            raise self._failed(_error(status, answer, await read_body(reader, answer)))
        self._worked()
        return answer

    def _request(self, method: str, path: str, accept: str, content: object = None, kind: str = JSON) -> bytes:
        """Return a request with the current token.

        Raises:
            UnreadableError: the token cannot be read.
        """
        host = f"[{self._account.host}]" if ":" in self._account.host else self._account.host
        headers = {
            "Host": f"{host}:{self._account.port}",
            "Authorization": f"Bearer {self._account.token()}",
            "User-Agent": f"dphub/{__version__}",
            "Accept": accept,
        }
        if content is None:
            return encode_request(method, path, headers, b"")
        return encode_request(method, path, headers | {"Content-Type": kind}, msgspec.json.encode(content))

    def _failed(self, error: ApiError) -> ApiError:
        """Log the beginning of an outage; return the error."""
        if error.is_outage and self._failed_at is None:
            self._failed_at = asyncio.get_running_loop().time()
            self._log.warning("API server unavailable", reason=str(error))
        return error

    def _worked(self) -> None:
        if self._failed_at is not None:
            seconds = asyncio.get_running_loop().time() - self._failed_at
            self._failed_at = None
            self._log.info("API server available", after_seconds=round(seconds, 1))


_FAILURES = (OSError, TimeoutError, ProtocolError, UnreadableError, UnicodeError)


def _no_answer(error: Exception) -> ApiError:
    if isinstance(error, TimeoutError):
        return ApiError(0, "it does not answer in time")
    return ApiError(0, printable(str(error) or type(error).__name__))


def _error(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    try:
        message = str(_decode(body).get("message", ""))
    except ProtocolError:
        message = ""
    wait = headers.get("retry-after", "")
    seconds = float(wait) if wait.isascii() and wait.isdigit() else 0
    return ApiError(status, printable(message)[:_LONGEST_REASON] or "no reason given", seconds)


def _decode(body: bytes) -> Object:
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise ProtocolError("the answer is not JSON") from None
    if not isinstance(content, dict):
        raise ProtocolError("the answer is not an object")
    return content
