"""The gRPC server of one resource: its socket, and the streams on it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import grpc.aio

from hub.base.notifier import Notifier
from hub.base.sockets import another_socket_name, decoy_socket_name, is_served
from hub.kubelet.channel import SERVER_OPTIONS, unix_target

MAX_STREAMS = 8
"""Number of the kubelet's streams above which old ones are ended: each registration opens one more."""

IDLE_SECONDS = 60
"""Seconds after which a connection without a call is closed: a kubelet before 1.37 keeps the connection of a stream
that this process has ended."""


SETTLE = 1.0
"""Seconds until the kubelet has seen the end of a stream, or has handled a list."""


class Stream:
    """One ListAndWatch stream.

    Attributes:
        is_replaced: Whether the kubelet has since opened another one, on which it now gets all changes.
    """

    def __init__(self) -> None:
        self.is_replaced = False
        self._over = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether this process is to end the stream."""
        return self._over.is_set()

    def end(self) -> None:
        """Request the end of the stream."""
        self._over.set()

    async def wait_for(self, change: Coroutine[None, None, None]) -> None:
        """Wait for a change, or until the stream is over."""
        waits = [asyncio.ensure_future(change), asyncio.ensure_future(self._over.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class Streams:
    """The ListAndWatch streams since the socket was bound.

    The first one after a registration counts as the kubelet's: it opens at once, and nothing on a unix socket
    distinguishes one client from another.

    Args:
        notifier: Notified when one of the kubelet's streams opens or ends.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._ended = False
        self._all: list[Stream] = []
        self._open: list[Stream] = []
        self.opened = 0
        self._listed_at = 0.0
        self.is_awaited = True
        """Whether the kubelet is expected to open a stream."""

    @property
    def kubelet_connected(self) -> bool:
        """Whether the kubelet has opened a stream, and has not closed any."""
        return self.opened > 0 and not self._ended

    @property
    def are_many(self) -> bool:
        """Whether there are so many that old ones should be ended."""
        return len(self._open) >= MAX_STREAMS

    @property
    def any_open(self) -> bool:
        """Whether any of the kubelet's streams is open."""
        return bool(self._open)

    @property
    def last_ended_first(self) -> bool:
        """Whether the kubelet's last stream has ended, but not all earlier ones."""
        return bool(self._open) and self._open[-1].is_replaced

    @property
    def unsettled_seconds(self) -> float:
        """Seconds for which the kubelet may still be handling the last list; 0 if it has only one stream."""
        return max(0.0, self._listed_at + SETTLE - time.monotonic()) if len(self._open) > 1 else 0.0

    def note_list(self) -> None:
        """Record that a list is being sent."""
        self._listed_at = time.monotonic()

    def end_replaced(self, limit: int = MAX_STREAMS) -> bool:
        """End at most this many of the kubelet's streams, oldest first, but not the last; return whether any ended."""
        replaced = [stream for stream in self._open if stream.is_replaced and not stream.is_over][:limit]
        for stream in replaced:
            stream.end()
        return bool(replaced)

    def end_all(self) -> None:
        """End the streams of all clients."""
        self._ended = True
        for stream in self._all:
            stream.end()

    @contextmanager
    def track(self) -> Iterator[Stream]:
        """Count a stream while it is open."""
        self.opened += 1
        stream = Stream()
        self._all.append(stream)
        try:
            with self._track_kubelet(stream) if self.is_awaited else nullcontext():
                yield stream
        finally:
            self._all.remove(stream)

    @contextmanager
    def _track_kubelet(self, stream: Stream) -> Iterator[None]:
        self.is_awaited = False
        for each in self._open:
            each.is_replaced = True
        self._open.append(stream)
        self._notifier.notify()
        try:
            yield
        finally:
            self._open.remove(stream)
            self._ended = self._ended or not stream.is_over
            self._notifier.notify()


class Service(Protocol):
    """A gRPC service that the server can serve."""

    streams: Streams

    def attach(self, server: grpc.aio.Server) -> None:
        """Add the service's methods to a server."""


class DevicePluginServer:
    """A gRPC server on a unix socket that can be bound again every time a kubelet deletes it.

    Args:
        path: The socket.
        service: The service.
        notifier: Notified when one of the kubelet's streams opens or ends.
    """

    def __init__(self, path: Path, service: Service, notifier: Notifier) -> None:
        self.path = path
        self._service = service
        self._notifier = notifier
        self._server: grpc.aio.Server | None = None
        self._inode: int | None = None
        self._names = 1
        self.streams = Streams(notifier)

    @property
    def reachable(self) -> bool:
        """Whether a new client would reach this server: the socket exists and is the one that was bound."""
        return self._server is not None and self._inode is not None and _inode(self.path) == self._inode

    @property
    def unused(self) -> bool:
        """Whether the socket is reachable and no stream has been opened on it yet."""
        return self.reachable and not self.streams.opened

    @property
    def socket_taken(self) -> bool:
        """Whether another process serves on the path to which this server was bound."""
        return self._server is not None and not self.reachable and is_served(self.path)

    async def open(self) -> None:
        """End all streams and bind the socket again.

        The order matters: when a gRPC server stops, it unlinks its path, even if another server has bound it since.

        Raises:
            OSError: the socket cannot be bound.
        """
        await self.close()
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"there is no directory {self.path.parent}")
        options = [("grpc.max_connection_idle_ms", 1000 * IDLE_SECONDS), *SERVER_OPTIONS]
        server = grpc.aio.server(options=options)
        self._service.streams = self.streams = Streams(self._notifier)
        self._service.attach(server)
        try:
            server.add_insecure_port(unix_target(self.path))
        except RuntimeError:
            raise OSError(f"cannot bind {self.path}: {_obstacle(self.path)}") from None
        # A kubelet that is starting may already have deleted the socket; then the server is not reachable.
        self._server, self._inode = server, _inode(self.path)
        await _completed(server.start())

    @contextmanager
    def another_name(self) -> Iterator[Path]:
        """Give the socket one more name until the block ends; the next stream counts as the kubelet's too.

        Kubelet 1.37 and later refuse to connect to a name to which they are already connected, and then no longer
        notice the end of that connection. Earlier kubelets connect to either name.

        Raises:
            OSError: the name cannot be created.
        """
        self._names += 1
        path = self.path.with_name(another_socket_name(self.path.name, self._names, self.path.parent))
        path.unlink(missing_ok=True)
        path.hardlink_to(self.path)
        self.streams.is_awaited = True
        try:
            yield path
        finally:
            self.streams.is_awaited = False
            path.unlink(missing_ok=True)

    @asynccontextmanager
    async def decoy_socket(self) -> AsyncIterator[Path]:
        """Bind a second socket, which accepts connections but implements no methods.

        Raises:
            OSError: the socket cannot be bound.
        """
        path = self.path.with_name(decoy_socket_name(self.path.name))
        server = grpc.aio.server(options=SERVER_OPTIONS)
        try:
            server.add_insecure_port(unix_target(path))
        except RuntimeError:
            raise OSError(f"cannot bind {path}: {_obstacle(path)}") from None
        await _completed(server.start())
        try:
            yield path
        finally:
            await _completed(_stop(server))

    async def close(self, grace: float | None = None) -> None:
        """End all streams and remove the socket.

        Args:
            grace: Seconds for which calls in progress may continue; by default, they are cancelled.
        """
        if self._server is not None:
            server, self._server = self._server, None
            if grace:
                # Otherwise the streams would use up the grace period.
                self.streams.end_all()
            await _completed(_stop(server, grace))


async def _stop(server: grpc.aio.Server, grace: float | None = None) -> None:
    try:
        await server.stop(grace)
    except UnicodeDecodeError:
        # A method name that is not UTF-8 has ended gRPC's loop. The first call that stops the server gets that
        # error, and stops nothing: usually this is gRPC's own call, but not if this task comes first.
        await server.stop(grace=None)


async def _completed(work: Coroutine[None, None, None]) -> None:
    """Complete the start or stop of a server, even if this task is cancelled.

    A partially started server fails when it is stopped, and a partially stopped one leaves its socket behind.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _inode(path: Path) -> int | None:
    """Return the inode of a file, which distinguishes it from the next one at its path; None if there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _obstacle(path: Path) -> str:
    """Return why a socket could not be bound, which gRPC does not say."""
    if path.exists() and not path.is_socket():
        return "the path exists and is not a socket; remove it"
    if not os.access(path.parent, os.W_OK):
        return "the directory is not writable"
    return "cannot create a socket in the directory"
