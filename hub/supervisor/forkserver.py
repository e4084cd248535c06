"""The hub's side of its fork server, see `hub.plugin.forkserver`.

It forks the plugins that start with the hub. A plugin that it cannot fork, for whatever reason, and each that starts
later, is started by its command: the fork server would take more memory than it saves, if it stayed.
"""

import asyncio
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec

from hub.base.interpreter import own_python
from hub.base.log import get_logger
from hub.base.prctl import become_subreaper, resign_as_subreaper
from hub.model.forkserver import MESSAGE_BYTES, ForkReply, ForkRequest

START_TIMEOUT = 5.0
"""Seconds for which a starting hub waits for its fork server, which usually takes a third of a second."""

FORK_TIMEOUT = 1.0
"""Seconds for one fork, which usually takes a hundredth of that. The hub does nothing else in this time."""

_READ_AT_START = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "GRPC_", "OPENSSL_", "LC_", "LANG", "TZ")
"""The prefixes of variables that a process reads only when it starts or loads its modules."""

_TITLE = " " * 4096
"""An argument that reserves memory for the command lines of plugin processes."""


class ForkServer:
    """A process that forks plugin processes, which then are children of the hub. It exists while the hub starts.

    Args:
        environment: Its environment.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        become_subreaper()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.setblocking(False)  # noqa: FBT003 - the only way
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    own_python("hub.plugin.forkserver", str(theirs.fileno()), _TITLE),
                    env=environment,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                get_logger().warning("fork server not started", reason=str(error))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """End the fork server. The processes that it has forked do not need it."""
        self._is_ready = False
        self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            resign_as_subreaper()

    async def ready(self) -> None:
        """Wait until it can fork; for a limited time."""
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(START_TIMEOUT):
                self._is_ready = bool(await asyncio.get_running_loop().sock_recv(self._connection, MESSAGE_BYTES))

    def fork(
        self, command: Sequence[str], environment: Mapping[str, str], directory: str, limits: Mapping[str, int]
    ) -> int:
        """Start a process, and return its process id; 0 if it has to be started by its command.

        Args:
            command: The words of the command.
            environment: All variables.
            directory: The working directory.
            limits: From the name of a limit in lower case, as in circus.ini, to its value.
        """
        head = own_python("hub.plugin")
        if list(command[: len(head)]) != head or _read_at_start(environment) != _read_at_start(self._environment):
            return 0
        request = ForkRequest(os.getpid(), command, command[len(head) :], environment, directory, limits)
        message = msgspec.json.encode(request)
        if len(message) > MESSAGE_BYTES or not self._is_ready:
            return 0
        try:
            return self._request(message).pid
        except (OSError, msgspec.MsgspecError) as error:
            get_logger().warning("fork server failed", reason=str(error))
            self.close()
            return 0

    def _request(self, message: bytes) -> ForkReply:
        """Request a process, and let it continue if all is well: one that is late, or of a dead fork server, exits."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                self._connection.settimeout(FORK_TIMEOUT)
                socket.send_fds(self._connection, [message], [theirs.fileno()])
            ours.settimeout(FORK_TIMEOUT)
            reply = msgspec.json.decode(ours.recv(MESSAGE_BYTES), type=ForkReply)
            # From now on, the process is a child of the hub.
            if not self._connection.recv(1):
                raise ConnectionResetError("it has exited")
            if reply.pid:
                ours.send(b"\n")
            return reply


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}
