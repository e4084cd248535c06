"""Responses from an API server, as the client reads them."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from hub.apiserver.http import MAX_HEAD, ProtocolError, body_parts, encode_request, lines_of, read_body, read_head


def _reader(content: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=MAX_HEAD)
    reader.feed_data(content)
    reader.feed_eof()
    return reader


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"\r\nhello",
    ],
)
async def test_bodies(body: bytes) -> None:
    """A body ends after its length, after its last chunk, or with the connection."""
    head = b"HTTP/1.1 200 OK\r\n" + body
    reader = _reader(head)
    status, headers = await read_head(reader)
    assert (status, await read_body(reader, headers)) == (200, b"hello")


async def test_lines_arrive_one_by_one() -> None:
    """Each line is returned as a whole, wherever the chunks begin and end."""
    reader = _reader(b"3\r\na\nb\r\n2\r\nc\n\r\n0\r\n\r\n")
    lines = [line async for line in lines_of(body_parts(reader, {"transfer-encoding": "chunked"}))]
    assert lines == [b"a", b"bc"]


async def test_a_long_line_in_small_parts_takes_little_time() -> None:
    """An object of several MiB that arrives in parts of a few bytes does not keep the agent from its other work."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(50_000):
            yield b"x" * 64
        yield b"\n"

    began = time.process_time()
    (line,) = [line async for line in lines_of(parts())]
    assert len(line) == 50_000 * 64
    # It takes a few milliseconds; copying the line for each part would take half a minute.
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD * 2,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
async def test_answers_that_are_not_http(answer: bytes) -> None:
    """They are an error, never take much memory, and never make the client wait forever."""
    with pytest.raises(ProtocolError):
        await _read(_reader(answer))


async def _read(reader: asyncio.StreamReader) -> bytes:
    _, headers = await read_head(reader)
    return await read_body(reader, headers)


def test_a_request() -> None:
    """It requests that the server close the connection after the response."""
    request = encode_request("GET", "/version", {"Host": "a:1"}, b"")
    assert request == b"GET /version HTTP/1.1\r\nHost: a:1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
