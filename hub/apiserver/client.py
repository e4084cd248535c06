"""Calls to the API server. Each has its own connection: a node makes few calls, and none has to wait for another."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from hub._version import __version__
from hub.apiserver.account import Account
from hub.apiserver.errors import ApiError
from hub.apiserver.http import MAX_HEAD, ProtocolError, body_parts, encode_request, lines_of, read_body, read_head
from hub.apiserver.ratelimit import RateLimit
from hub.base.log import get_logger
from hub.base.printable import printable
from hub.base.untrusted import UnreadableError, decode_json

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""With this, the server leaves out the specification and the status of an object."""

TIMEOUT = 10.0
"""Seconds for a request, from the connection to the last byte of the response."""

_LONGEST_REASON = 500
_OK = 200
_SUCCESS = range(_OK, 300)

Object = dict[str, Any]
"""An object of the API, as it is sent."""

T = TypeVar("T")


class _Status(msgspec.Struct, frozen=True):
    """An error from the API server."""

    message: str = ""


class ApiClient:
    """Calls the API server.

    Args:
        account: The service account.
        limit: Limits the rate of requests.
        timeout: Seconds for a request.
    """

    def __init__(self, account: Account, limit: RateLimit | None = None, *, timeout: float = TIMEOUT) -> None:
        self._account = account
        self._limit = limit or RateLimit()
        self._timeout = timeout
        self._failed_at: float | None = None
        self._log = get_logger()

    async def get(self, path: str, kind: type[T], accept: str = JSON) -> T:
        """Return an object.

        Args:
            path: The object.
            kind: The parts of the object to decode.
            accept: The media type of the response.

        Raises:
            ApiError: the call failed, or the response is something else.
        """
        return await self._call("GET", path, lambda body: decode_json(body, kind, path), accept=accept)

    async def create(self, path: str, content: Object, kind: type[T]) -> T:
        """Create an object in a collection, and return it.

        Args:
            path: The collection.
            content: The object.
            kind: The parts of the response to decode.

        Raises:
            ApiError: the call failed.
        """
        return await self._call("POST", path, lambda body: decode_json(body, kind, path), content)

    async def replace(self, path: str, content: Object, kind: type[T]) -> T:
        """Replace an object, and return it.

        Args:
            path: The object.
            content: Its new content.
            kind: The parts of the response to decode.

        Raises:
            ApiError: the call failed; with 409, the object is not the version that the content names.
        """
        return await self._call("PUT", path, lambda body: decode_json(body, kind, path), content)

    async def delete(self, path: str, options: Object) -> None:
        """Delete an object.

        Args:
            path: The object.
            options: The conditions for the deletion.

        Raises:
            ApiError: the call failed.
        """
        await self._call("DELETE", path, _ignore, options)

    async def patch(self, path: str, content: object, media_type: str) -> None:
        """Change an object.

        Args:
            path: The object.
            content: The patch.
            media_type: The media type of the patch.

        Raises:
            ApiError: the call failed.
        """
        await self._call("PATCH", path, _ignore, content, media_type)

    async def watch(self, path: str, kind: type[T], seconds: float, accept: str = JSON) -> AsyncGenerator[T, None]:
        """Yield the events of a watch, until the server ends it.

        Args:
            path: The collection, with the query of the watch.
            kind: The parts of an event to decode.
            seconds: The time after which the server ends it; a connection that stays open for longer is dead.
            accept: The media type of the objects.

        Raises:
            ApiError: the watch could not begin, or ended before its time.
        """
        await self._limit.wait()
        try:
            request = self._request("GET", path, accept)
            async with asyncio.timeout(seconds + self._timeout), self._connected() as (reader, writer):
                async with asyncio.timeout(self._timeout):
                    headers = await self._begin(reader, writer, request)
                self._worked()
                async for line in lines_of(body_parts(reader, headers)):
                    yield decode_json(line, kind, path.partition("?")[0])
        except _FAILURES as error:
            raise self._failed(_no_answer(error)) from None

    async def _call(
        self,
        method: str,
        path: str,
        read: Callable[[bytes], T],
        content: object = None,
        media_type: str = JSON,
        *,
        accept: str = JSON,
    ) -> T:
        await self._limit.wait()
        try:
            request = self._request(method, path, accept, content, media_type)
            async with asyncio.timeout(self._timeout), self._connected() as (reader, writer):
                response = await self._begin(reader, writer, request)
                body = await read_body(reader, response)
        except _FAILURES as error:
            raise self._failed(_no_answer(error)) from None
        self._worked()
        try:
            return read(body)
        except UnreadableError as error:
            # Not an outage: another attempt would get the same. The author of an object may have made it so.
            raise ApiError(_OK, printable(str(error))) from None

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
        """Send a request, and return the headers of the response, whose body follows.

        Raises:
            ApiError: the server reports an error.
        """
        writer.write(request)
        await writer.drain()
        status, response = await read_head(reader)
        if status not in _SUCCESS:
            raise self._failed(_error(status, response, await read_body(reader, response)))
        return response

    def _request(self, method: str, path: str, accept: str, content: object = None, media_type: str = JSON) -> bytes:
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
        return encode_request(method, path, headers | {"Content-Type": media_type}, msgspec.json.encode(content))

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


def _ignore(_body: bytes) -> None:
    """Ignore the body of a response."""


_FAILURES = (OSError, TimeoutError, ProtocolError, UnreadableError, UnicodeError)


def _no_answer(error: Exception) -> ApiError:
    if isinstance(error, TimeoutError):
        return ApiError(0, "it did not answer in time")
    return ApiError(0, printable(str(error) or type(error).__name__))


def _error(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    try:
        message = decode_json(body, _Status, "the error").message
    except UnreadableError:
        message = ""
    wait = headers.get("retry-after", "")
    seconds = float(wait) if wait.isascii() and wait.isdigit() else 0
    return ApiError(status, printable(message)[:_LONGEST_REASON] or "no reason given", seconds)
