"""The hub's side of its fork server; see `hub.plugin.forkserver`.

The fork server forks the plugins that start with the hub. A plugin that it cannot fork, for whatever reason, or that
starts later, is started by its command: if the fork server stayed, it would take more memory than it saves.
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
"""Seconds for each message of a fork, which usually takes a hundredth of that. The hub does nothing else then."""

_READ_AT_START = (
    *("PYTHON", "HOME", "COVERAGE_", "LD_", "MALLOC_", "GLIBC_", "LC_", "LANG", "TZ"),
    *("GRPC_", "PROTOCOL_BUFFERS_", "OPENSSL_"),
)
"""The prefixes of variables that a process reads only when it starts or loads its modules."""

_READ_AT_START_LIMIT = "stack"
"""The limit that determines the size of the stacks of threads when a process starts."""

KILL_TIMEOUT = 1.0
"""Seconds to wait for the fork server to exit after SIGKILL; the hub does nothing else in this time."""

_HEAD = own_python("hub.plugin")

_TITLE = " " * 4096
"""An argument that reserves memory for the command lines of plugin processes."""


class ForkServer:
    """A process that forks plugin processes, which are then children of the hub. It exists while the hub is starting.

    Args:
        environment: Its environment.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._is_ready = False
        self._problem = ""
        try:
            self._start()
        except OSError as error:
            # Logged later, because the hub cannot log yet.
            self._problem = str(error)

    def _start(self) -> None:
        become_subreaper()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.setblocking(False)  # noqa: FBT003 - its only argument
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                own_python("hub.plugin.forkserver", str(theirs.fileno()), _TITLE),
                env=self._environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the fork server."""
        self.close()

    def close(self) -> None:
        """Stop the fork server. The processes that it has forked do not need it."""
        self._is_ready = False
        if self._process is not None:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(KILL_TIMEOUT)
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        with suppress(OSError):
            resign_as_subreaper()

    async def ready(self) -> None:
        """Wait until the fork server can fork, for a limited time. Until then, `fork` starts nothing."""
        if self._problem or self._is_ready or self._connection is None:
            self._report()
            return
        try:
            async with asyncio.timeout(START_TIMEOUT):
                self._is_ready = bool(await asyncio.get_running_loop().sock_recv(self._connection, MESSAGE_BYTES))
        except TimeoutError:
            self._problem = f"it did not become ready within {START_TIMEOUT:g} s"
        except OSError as error:
            self._problem = str(error)
        else:
            self._problem = "" if self._is_ready else "it has exited"
        self._report()

    def _report(self) -> None:
        """Log why there is no fork server, once."""
        if self._problem:
            get_logger().warning("fork server not started", reason=self._problem)
            self._problem = ""
            self.close()

    def fork(
        self, command: Sequence[str], environment: Mapping[str, str], directory: str, limits: Mapping[str, int]
    ) -> int:
        """Start a process, and return its process id; 0 if it has to be started by its command.

        Args:
            command: The words of the command.
            environment: All variables.
            directory: The working directory.
            limits: The limits, keyed by name in lower case, as in circus.ini.
        """
        connection = self._connection if self._is_ready else None
        if connection is None or not self._can_fork(command, environment, limits):
            return 0
        arguments = command[len(_HEAD) :]
        try:
            # Not all variables can be encoded: they may contain any bytes.
            request = msgspec.json.encode(ForkRequest(os.getpid(), command, arguments, environment, directory, limits))
            return _request(connection, request).pid if len(request) <= MESSAGE_BYTES else 0
        except (OSError, msgspec.MsgspecError) as error:
            get_logger().warning("fork server failed", reason=str(error))
            self.close()
            return 0
        except (ValueError, OverflowError):
            return 0

    def _can_fork(self, command: Sequence[str], environment: Mapping[str, str], limits: Mapping[str, int]) -> bool:
        """Return whether a forked process would be the same as one that the command starts."""
        return (
            list(command[: len(_HEAD)]) == _HEAD
            and _read_at_start(environment) == _read_at_start(self._environment)
            and _READ_AT_START_LIMIT not in limits
        )


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}


def _request(connection: socket.socket, message: bytes) -> ForkReply:
    """Request a process, and let it continue if all is well; it exits if it is late or its fork server has died."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            connection.settimeout(FORK_TIMEOUT)
            socket.send_fds(connection, [message], [theirs.fileno()])
        ours.settimeout(FORK_TIMEOUT)
        answer = ours.recv(MESSAGE_BYTES)
        if not (answer and connection.recv(1)):
            raise ConnectionResetError("it has exited")
        reply = msgspec.json.decode(answer, type=ForkReply)
        if reply.pid:
            # This fails unless the process is a child of the hub, which would not notice the exit of any other.
            os.waitid(os.P_PID, reply.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            ours.send(b"\n")
        return reply
