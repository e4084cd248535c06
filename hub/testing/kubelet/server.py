"""A gRPC server on a unix socket, whose file remains after a simulated crash."""

import os
from collections.abc import Callable
from pathlib import Path

import grpc.aio

from hub.kubelet.channel import unix_target

_GRACE = 0.1
"""Seconds for calls to send their last message. Without them, gRPC leaves the tasks of calls running for a while."""


class UnixServer:
    """Listens on `path`, which appears when the server is ready, in a directory that exists.

    When a gRPC server stops, it deletes the path that it was bound to, even if a newer server is listening there by
    then. So this one is bound through a descriptor of the directory, which is redirected before the server stops; this
    class decides whether to delete the file, which another server may have replaced.
    """

    def __init__(self, path: Path, add_service: Callable[[grpc.aio.Server], None]) -> None:
        self._path = path
        self._server = grpc.aio.server()
        add_service(self._server)
        self._directory: int | None = None
        self._created: os.stat_result | None = None

    async def start(self) -> None:
        """Bind and serve; replace the socket of an earlier server."""
        self._path.unlink(missing_ok=True)
        self._directory = os.open(self._path.parent, os.O_PATH)
        self._server.add_insecure_port(unix_target(f"/proc/self/fd/{self._directory}/{self._path.name}"))
        await self._server.start()
        self._created = self._path.lstat()

    def identity(self) -> int:
        """Return a descriptor that keeps the socket's inode number from being reused; the caller closes it."""
        return os.open(self._path, os.O_PATH)

    async def stop(self, *, clean: bool) -> None:
        """Close all connections; remove the socket's file if `clean`."""
        if self._directory is None:
            return
        if clean and self._has_own_file():
            self._path.unlink()
        # Not closed before the server has stopped: another directory could get the same number.
        nowhere = os.open(os.devnull, os.O_PATH)
        os.dup2(nowhere, self._directory, inheritable=False)
        os.close(nowhere)
        await self._server.stop(_GRACE)
        os.close(self._directory)
        self._directory = None

    def _has_own_file(self) -> bool:
        try:
            return self._created is not None and os.path.samestat(self._created, self._path.lstat())
        except FileNotFoundError:
            return False
