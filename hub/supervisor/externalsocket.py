"""The socket on which other programs on the node report that a device cannot be used.

A connection carries one request and one response, as JSON lines; see `hub.model.external`. A report becomes a file in
the directory for such files, so the same rules apply to both: plugins read it there, whichever hub has written it.
"""

import asyncio
import contextlib
import os
import socket
import struct
import time
from pathlib import Path

import msgspec

from hub.base.errors import HubError
from hub.base.instances import running_hubs
from hub.base.log import get_logger
from hub.base.paths import RunDir, user_name
from hub.base.printable import printable
from hub.base.removal import clear_path
from hub.base.sockets import file_identity
from hub.base.ticks import sleep_until_tick
from hub.base.untrusted import UnreadableError, decode_json
from hub.model.admin import Response
from hub.model.external import MAX_BYTES, NO_SUCH_REPORT, ExternalReport, ReportRequest
from hub.status.externalreports import SOCKET_REPORTS, ExternalReports

REQUEST_TIMEOUT = 5.0
"""Seconds within which a request must arrive."""

CONNECTIONS = 16
"""Maximum number of open connections; further clients are refused."""

CHECK_SECONDS = 5.0
"""Seconds between checks that the socket exists, and is this hub's."""

_CREDENTIALS = struct.Struct("3i")
"""The kernel's `struct ucred`: process, user and group."""

_ROOT = 0

_log = get_logger()


class ExternalSocket:
    """Listens while this hub is the newest one on the node.

    Args:
        run_dir: The run directory, with the name of the hub.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._path = run_dir.external_socket
        self._reports = ExternalReports(run_dir.external_faults, SOCKET_REPORTS)
        self._connections: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Listen until cancelled. Anything that is put in place of the socket is replaced.

        Raises:
            OSError: the socket cannot be created.
        """
        while True:
            if self._is_newest():
                await self._listen()
            await sleep_until_tick(CHECK_SECONDS)

    def _is_newest(self) -> bool:
        hubs = running_hubs(self._run_dir)
        return not hubs or hubs[-1].name == self._run_dir.instance

    async def _listen(self) -> None:
        """Listen until the socket is removed, or is replaced, for example by the next hub."""
        server = await asyncio.start_unix_server(self._accept, sock=_bound(self._path), limit=MAX_BYTES)
        ours = file_identity(self._path)
        try:
            while file_identity(self._path) == ours:
                await sleep_until_tick(CHECK_SECONDS)
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            if file_identity(self._path) == ours:
                self._path.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._serve(reader, writer, is_busy=len(self._connections) >= CONNECTIONS))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_busy: bool) -> None:
        pid, user, _ = _CREDENTIALS.unpack(
            writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        try:
            if is_busy:
                response = Response(ok=False, message=f"more than {CONNECTIONS} clients are connected: try again")
            elif user not in (_ROOT, os.geteuid()):
                response = Response(ok=False, message=f"only root can use this socket, not {user_name(user)}")
            else:
                response = await self._respond(reader)
            # The client may have disconnected before the response, or may not read it.
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    writer.write(msgspec.json.encode(response) + b"\n")
                    await writer.drain()
        finally:
            writer.close()
        if not response.ok:
            _log.warning("external request rejected", pid=pid, user=user, reason=response.message)

    async def _respond(self, reader: asyncio.StreamReader) -> Response:
        problem = ""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                line = await reader.readline()
            return self._carry_out(decode_json(line, ReportRequest, "request"))
        except TimeoutError:
            problem = f"no request within {REQUEST_TIMEOUT:g} s"
        except ConnectionError:
            problem = "the client has disconnected"
        except UnreadableError as error:
            problem = f"unrecognized request: {error.problem}"
        except ValueError:
            problem = f"unrecognized request: expected one line of at most {MAX_BYTES} bytes"
        except HubError as error:
            problem = str(error)
        except OSError as error:
            problem = f"{self._run_dir.external_faults}: {error.strerror}"
        return Response(ok=False, message=problem)

    def _carry_out(self, request: ReportRequest) -> Response:
        if request.withdraw == (request.reason is not None):
            return Response(ok=False, message='expected either "reason" or "withdraw": true')
        about = {"device": printable(request.device), "source": printable(request.source)}
        if request.reason is None:
            if not self._reports.withdraw(request.source, request.device):
                return Response(ok=True, message=NO_SUCH_REPORT)
            _log.info("external report withdrawn", **about)
            return Response(ok=True, message="withdrawn")
        report = ExternalReport(request.device, request.reason, request.source, request.until)
        if report.has_expired(time.time()):
            return Response(ok=False, message='"until" has passed')
        if self._reports.put(report):
            _log.info("external report received", **about, reason=printable(request.reason))
            return Response(ok=True, message="stored")
        return Response(ok=True, message="stored, in place of the previous one")


def _bound(path: Path) -> socket.socket:
    """Return a socket that listens at a path. A client always finds a socket there: the previous one, or this one."""
    scratch = path.with_name(f".{path.stem}.new")
    clear_path(scratch)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.bind(str(scratch))
        scratch.chmod(0o600)
        listening.listen(CONNECTIONS)
        if path.is_dir() and not path.is_symlink():
            clear_path(path)
        scratch.replace(path)
    except OSError:
        listening.close()
        raise
    return listening
