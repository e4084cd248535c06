"""A gRPC server on a unix socket whose file outlives it when a crash is played."""

import os
from collections.abc import Callable
from pathlib import Path

import grpc.aio

_DIRECTORY_MODE = 0o750

_GRACE = 0.1
"""Seconds for calls to send their last word. Cut off instead, gRPC leaves their tasks behind for a while."""


class UnixServer:
    """Listens on `path`, which appears when the server answers.

    A gRPC server that stops deletes the path that it was bound to, even when a newer server listens there by then. So
    this one is bound by way of a descriptor of the directory, which leads nowhere by the time the server stops; what
    happens to the file is decided here.
    """

    def __init__(self, path: Path, add_service: Callable[[grpc.aio.Server], None]) -> None:
        self._path = path
        self._server = grpc.aio.server()
        add_service(self._server)
        self._directory: int | None = None

    async def start(self) -> None:
        """Bind and serve; a socket that is left over from an earlier server is replaced."""
        self._path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._directory = os.open(self._path.parent, os.O_PATH)
        self._server.add_insecure_port(f"unix:/proc/self/fd/{self._directory}/{self._path.name}")
        await self._server.start()

    def identity(self) -> int:
        """A descriptor that keeps the socket's inode number from being given to the next one; the caller closes it."""
        return os.open(self._path, os.O_PATH)

    async def stop(self, *, clean: bool) -> None:
        """End every connection; take the socket's file away if `clean`."""
        if self._directory is None:
            return
        if clean:
            self._path.unlink(missing_ok=True)
        # Not closed before the server has stopped: its number could be given to another directory.
        nowhere = os.open(os.devnull, os.O_PATH)
        os.dup2(nowhere, self._directory, inheritable=False)
        os.close(nowhere)
        await self._server.stop(_GRACE)
        os.close(self._directory)
        self._directory = None
