"""The HTTP server of the hub: on a socket in the run directory, and on the network.

The kubelet's probes use the socket, which only root on the node can reach. So no client on the network can delay
them or cause rejections: they share neither a port nor an accept queue with clients. They do share the event loop,
but clients on the network get only a limited part of its time.
"""

import asyncio
import socket
import struct
from asyncio import Future
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets, bind_unix_socket

from hub.base.errors import ConfigError
from hub.base.log import get_logger
from hub.base.removal import clear_path
from hub.base.sockets import file_identity
from hub.base.ticks import sleep_until_tick
from hub.status.reader import Reader
from hub.supervisor.http.gate import Gate, is_address
from hub.supervisor.http.pages import application

CONNECTIONS = 64
"""Maximum number of open connections from the network; if there are more, the oldest one is aborted. A connection
counts until its client has received all of the response."""

CONNECTION_SECONDS = 30.0
"""Seconds after which a connection is aborted, whether its client is silent, slow, or never reads the response."""

SEND_BUFFER_BYTES = 64 << 10
"""Size of each connection's send buffer in the kernel, which uses up to twice as much. Without a limit, it grows to
megabytes. The memory counts as the pod's."""

READS = 128
"""Maximum number of reads from a connection before it is closed. A request arrives in a few packets; if it is sent byte
by byte, each byte wakes the event loop, which the budget of `gate` cannot limit."""

UNSENT_BYTES = 32 << 20
"""Maximum total size of unsent responses, unless there is only one. The status of thousands of devices takes
megabytes, and a client that does not read it leaves them in memory."""

_PART_BYTES = 64 << 10
"""Tornado frees a piece of a response when its last byte is sent, so responses are stored in pieces of this size."""

_ABORT = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which closing a socket discards unsent data, and resets the connection."""

_RECEIVED = 5, 7
"""States of a connection whose client has received everything, including the FIN: FIN_WAIT2 and CLOSE (the
kernel's net/tcp_states.h)."""

RETRY_SECONDS = 5.0
"""Seconds between attempts to listen or to accept a connection, and between checks that the socket exists."""

_log = get_logger()


async def serve_socket(path: Path, reader: Reader) -> None:
    """Serve on a unix socket until cancelled, without limits. Anything that is put in its place is replaced.

    Args:
        path: The socket; only this user can connect to it.
        reader: Reads the status of the node.
    """
    pages = application(reader)
    while True:
        if not path.is_socket():  # noqa: ASYNC240 - blocks no longer than any access to the run directory
            # Another process may have put something else there. Tornado replaces only sockets.
            clear_path(path)
        # A new server each time: the socket of the last one is closed with it.
        server = HTTPServer(pages)
        try:
            server.add_socket(bind_unix_socket(str(path), mode=0o600))
            ours = file_identity(path)
            while file_identity(path) == ours:  # no event reports its removal or replacement
                await sleep_until_tick(RETRY_SECONDS)
        finally:
            server.stop()


async def serve_web(
    address: str, reader: Reader, report: Callable[[str, str], None], hosts: Iterable[str] = ()
) -> None:
    """Serve the network until cancelled. While another process has the address, keep trying: plugins need no HTTP.

    Args:
        address: "HOST:PORT"; port 0 is any free port.
        reader: Reads the status of the node.
        report: Called with the address, as "HOST:PORT", or else with "" and the reason why it cannot listen.
        hosts: More names of the hub, by which clients may address it.
    """
    gate = Gate(hosts)
    server = _NetworkServer(
        application(reader, gate),
        # A client on the network gets one response for each connection, so limits on connections limit everything.
        no_keep_alive=True,
        # Requests are small, so low limits bound the memory that clients can occupy.
        max_header_size=16 * 1024,
        max_buffer_size=64 * 1024,
        max_body_size=1024,
    )
    listening = await _listen(address, report)
    try:
        async with asyncio.TaskGroup() as tasks:
            for each in listening:
                tasks.create_task(_accept(each, server, gate))
    finally:
        for each in listening:
            each.close()
        await server.close_all_connections()


async def _accept(listening: socket.socket, server: "_NetworkServer", gate: Gate) -> None:
    """Accept connections while the network's share of the event loop lasts; after that they wait in the kernel."""
    loop = asyncio.get_running_loop()
    while True:
        await gate.budget.wait()
        try:
            connection, address = await loop.sock_accept(listening)
        except OSError as error:
            _log.error("http accept failed", reason=error.strerror)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            server.handle_stream(_Stream(connection, server), address)


class _Stream(IOStream):
    """A connection from the network, with a limited number of reads.

    When a socket is closed, the kernel keeps unsent data for minutes, or for as long as the client reads a little. So
    the socket stays open until the client has received everything, or the server aborts the connection.
    """

    def __init__(self, connection: socket.socket, server: "_NetworkServer") -> None:
        super().__init__(connection, max_buffer_size=server.max_buffer_size)
        self._connection = connection
        self._server = server
        self._reads = 0

    @property
    def unsent(self) -> int:
        """The number of bytes that the kernel has not accepted yet."""
        return 0 if self.closed() else len(self._write_buffer)

    def write(self, data: bytes | memoryview) -> "Future[None]":
        """Write data, and make room for what the kernel does not accept yet."""
        written = super().write(bytes(data[:_PART_BYTES]))
        # If the client ends the connection in the meantime, the result of the last part has the error.
        for start in range(_PART_BYTES, len(data), _PART_BYTES):
            if self.closed():
                break
            written = super().write(bytes(data[start : start + _PART_BYTES]))
        self._server.make_room(self)
        return written

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Read what is available; at the limit, act as if the client had closed the connection."""
        self._reads += 1
        return super().read_from_fd(buf) if self._reads <= READS else 0

    def close_fd(self) -> None:
        """End the response, or abort it if it is incomplete."""
        incomplete = self.unsent
        self.socket = None  # type: ignore[assignment] # as Tornado does
        if incomplete:
            self._reset()
        else:
            # An error means that the client has ended the connection.
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)

    def is_over(self) -> bool:
        """Close the socket if the client has received all of the response; return whether it is closed."""
        if self.closed() and self._connection.fileno() != -1:
            state = self._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            if state in _RECEIVED:
                self._connection.close()
        return self._connection.fileno() == -1

    def abort(self) -> None:
        """Close the connection; data that the client has not received is discarded."""
        if self.is_over():
            return
        self.close()
        if self._connection.fileno() != -1:
            self._reset()

    def _reset(self) -> None:
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._connection.close()


class _NetworkServer(HTTPServer):
    def initialize(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - tornado's signature
        super().initialize(*args, **settings)
        self._open: dict[_Stream, asyncio.TimerHandle] = {}

    def make_room(self, newest: _Stream) -> None:
        """Abort the connections whose clients do not read, the oldest first, until the other responses fit."""
        waiting = [each for each in self._open if each.unsent]
        while sum(each.unsent for each in waiting) > UNSENT_BYTES and len(waiting) > 1:
            oldest = next(each for each in waiting if each is not newest)
            waiting.remove(oldest)
            oldest.abort()

    def handle_stream(self, stream: _Stream, address: tuple[str, int]) -> None:  # type: ignore[override]
        """Serve a connection, and abort the oldest one if more would leave the plugins without file descriptors."""
        for each in [each for each in self._open if each.is_over()]:
            self._open.pop(each).cancel()
        if len(self._open) >= CONNECTIONS:
            next(iter(self._open)).abort()
        self._open[stream] = asyncio.get_running_loop().call_later(CONNECTION_SECONDS, stream.abort)
        super().handle_stream(stream, address)

    async def close_all_connections(self) -> None:
        """Abort all connections, and wait until nothing uses them."""
        for each, deadline in self._open.items():
            deadline.cancel()
            each.abort()
        await super().close_all_connections()


async def _listen(address: str, report: Callable[[str, str], None]) -> list[socket.socket]:
    host, port = split_address(address)
    before = ""
    while True:
        try:
            sockets = bind_sockets(port, host)
        except OSError as error:
            reason = f"cannot listen on {address}: {error.strerror}"
            if reason != before:
                report("", reason)
                _log.error("http listen failed", reason=f"{reason}; choose another address with --http or DPHUB_HTTP")
            before = reason
            await asyncio.sleep(RETRY_SECONDS)
        else:
            for each in sockets:
                # Each connection inherits this.
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            report(_address_of(sockets[0]), "")
            return sockets


def split_address(address: str) -> tuple[str, int]:
    """Split "HOST:PORT" or "[HOST]:PORT"; ":PORT" has an empty host, which means all addresses.

    Raises:
        ConfigError: it has neither form, or the host would have to be looked up: the event loop could wait for a name
            server that does not answer.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 0xFFFF:  # noqa: PLR2004 - ports have 16 bits
        raise ConfigError("--http", f'is "{address}", expected HOST:PORT such as 127.0.0.1:9880, or off')
    host = host.removeprefix("[").removesuffix("]")
    if host == "localhost":
        host = "127.0.0.1"
    if host and not is_address(host):
        raise ConfigError("--http", f'is "{address}", expected an IP address or localhost before the port')
    return host, int(port)


def _address_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
