"""The socket on which NVSentinel's events arrive: the same service that its platform connector serves."""

from collections.abc import Callable
from pathlib import Path

import grpc

from hub.base.log import get_logger
from hub.base.removal import clear_path
from hub.base.sockets import file_identity
from hub.base.ticks import sleep_until_tick
from hub.kubelet.channel import SERVER_OPTIONS, unix_target
from hub.nvsentinel.wire import METHODS, SERVICE
from hub.rpc import ServiceError

MAX_BYTES = 1 << 20
"""The size limit of a request."""

MAX_CALLS = 8
"""Maximum number of calls at a time; further ones are refused."""

CHECK_SECONDS = 5.0
"""Seconds between checks that the socket exists, and is this process's."""

_STOP_SECONDS = 1.0


class Receiver:
    """Listens while this process is the active one.

    Args:
        path: The path of the socket.
        instance: The name of the process's hub.
        take: Carries out a request; raises `ServiceError` if it is not one.
        is_active: Whether no newer hub on the node has such a process.
    """

    def __init__(self, path: Path, instance: str, take: Callable[[bytes], None], is_active: Callable[[], bool]) -> None:
        self._path = path
        self._scratch = path.with_name(f".{path.name}.{instance}")
        self._take = take
        self._is_active = is_active
        self._log = get_logger()

    async def run(self) -> None:
        """Listen until cancelled. Anything else that appears at the socket's path is replaced.

        Raises:
            OSError: the socket cannot be created.
        """
        while True:
            if self._is_active():
                await self._listen()
            await sleep_until_tick(CHECK_SECONDS)

    async def _listen(self) -> None:
        """Listen until another process is active, or the socket is removed, or replaced by the next hub's process."""
        options = [*SERVER_OPTIONS, ("grpc.max_receive_message_length", MAX_BYTES)]
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=MAX_CALLS)
        handlers = dict.fromkeys(METHODS, grpc.unary_unary_rpc_method_handler(self._handle))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        clear_path(self._scratch)
        try:
            # When a gRPC server stops, it unlinks the path that it was given, even if another server's socket is there.
            server.add_insecure_port(unix_target(self._scratch))
        except RuntimeError:
            check = "check that the directory exists, and that the path is short enough for a socket"
            raise OSError(f"cannot bind {self._scratch}: {check}") from None
        await server.start()
        ours = file_identity(self._scratch)
        try:
            self._scratch.chmod(0o600)
            if self._path.is_dir() and not self._path.is_symlink():
                clear_path(self._path)
            self._scratch.replace(self._path)
            self._log.info("NVSentinel events accepted", socket=str(self._path))
            while file_identity(self._path) == ours and self._is_active():
                await sleep_until_tick(CHECK_SECONDS)
        finally:
            await server.stop(_STOP_SECONDS)
            if file_identity(self._path) == ours:
                self._path.unlink(missing_ok=True)

    async def _handle(self, request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        try:
            self._take(request)
        except ServiceError as error:
            self._log.warning("NVSentinel request rejected", reason=str(error))
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except OSError as error:
            self._log.warning("NVSentinel request rejected", reason=str(error))
            # NVSentinel sends them again.
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return b""
