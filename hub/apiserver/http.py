"""HTTP/1.1 as a client of the API server needs it: one request for each connection, and the response as it arrives."""

import asyncio
from collections.abc import AsyncIterator, Mapping

MAX_HEAD = 64 << 10
"""The largest headers of a response in bytes."""

MAX_BODY = 16 << 20
"""The largest body in bytes. A Node with the names of all its images takes up to one MiB."""

_STATUS_WORDS = 2
_CHUNK = 1 << 16


class ProtocolError(ValueError):
    """A response that is not HTTP, or is too large."""


def encode_request(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a request whose response ends the connection."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("ascii") + body


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Read the status code and the headers, whose names are in lower case.

    Raises:
        ProtocolError: it is not HTTP.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise ProtocolError("the headers of the response are too large") from None
    except asyncio.IncompleteReadError:
        raise ProtocolError("the connection was closed before the response") from None
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split()
    if len(words) < _STATUS_WORDS or not words[0].startswith("HTTP/1.") or not _is_number(words[1]):
        raise ProtocolError("the response is not HTTP")
    fields = (line.partition(":") for line in lines if ":" in line)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in fields}


async def read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """Read the whole body.

    Raises:
        ProtocolError: it is too large, or not complete.
    """
    body = bytearray()
    async for part in body_parts(reader, headers):
        body += part
        if len(body) > MAX_BODY:
            raise ProtocolError("the response is too large")
    return bytes(body)


async def body_parts(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    """Yield the body in parts, as they arrive.

    Raises:
        ProtocolError: it is not complete.
    """
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := await _chunk_size(reader):
                yield (await reader.readexactly(size + 2))[:-2]
        elif "content-length" in headers:
            length = headers["content-length"]
            if not _is_number(length) or int(length) > MAX_BODY:
                raise ProtocolError("the response has an invalid length")
            yield await reader.readexactly(int(length))
        else:
            while part := await reader.read(_CHUNK):
                yield part
    except asyncio.IncompleteReadError:
        raise ProtocolError("the connection was closed in the middle of the response") from None


async def lines_of(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a body as they arrive.

    Raises:
        ProtocolError: a line is too long, or the body is not complete.
    """
    rest = bytearray()
    async for part in parts:
        *ends, begin = part.split(b"\n")
        for end in ends:
            yield bytes(rest + end)
            rest.clear()
        rest += begin
        if len(rest) > MAX_BODY:
            raise ProtocolError("the response is too large")


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    try:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
    except (asyncio.LimitOverrunError, ValueError):
        raise ProtocolError("the response has an invalid chunk") from None
    if not 0 <= size <= MAX_BODY:
        raise ProtocolError("the response is too large")
    return size


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < len(str(MAX_BODY)) + 1
