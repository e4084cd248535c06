"""Queries the API server through one `kubectl proxy`, on a socket that no other user can reach.

One kubectl process keeps one connection to the API server for all requests. For 500 nodes, kubectl and this process
take 0.7 s of CPU time; running `kubectl get --raw` 500 times takes 25 s (benchmarks/fleet.py).
"""

import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from hub.base.errors import HubError
from hub.base.prctl import set_death_signal
from hub.base.webheaders import NOT_A_PAGE
from hub.cli.fleet.kubectl import Kubectl, UnfinishedError
from hub.cli.render.text import echo

START_SECONDS = 60.0
"""Seconds to wait until kubectl listens. That takes a tenth of a second, but a program for credentials may ask for a
password first."""

_STOP_SECONDS = 5.0

PATHS = "^/api/v1/namespaces/{}/pods(/[^/]+:[0-9]+/proxy/(status|history))?$"
"""The paths that the proxy forwards: the list of pods, and two pages of a pod."""

_LOG_LINE = re.compile(r"[IWEF]\d{4} ")
"""The prefix of a line that kubectl writes for its developers."""

_STATUS = re.compile(rb"HTTP/1\.\d +(\d{3})( |\Z)")

_KEPT_LINES = 20
_LINE_BYTES = 4096
_CHUNK = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS
_LENGTH_DIGITS = 18

_SHORT = "sent only the beginning of its response"


class Response(NamedTuple):
    """A response to a request."""

    code: int
    body: bytes


class Proxy:
    """A running `kubectl proxy`, until it is closed.

    Args:
        kubectl: The user's kubectl.

    Raises:
        HubError: the proxy does not start; the text is kubectl's error message.
    """

    def __init__(self, kubectl: Kubectl) -> None:
        # Only this user can enter it.
        self._directory = Path(tempfile.mkdtemp(prefix="dphub-"))
        self._socket = self._directory / "s"
        self._errors: deque[str] = deque(maxlen=_KEPT_LINES)
        try:
            self._process = self._start(kubectl)
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.close()
            raise

    def _start(self, kubectl: Kubectl) -> "subprocess.Popen[str]":
        command = kubectl.command(
            "proxy",
            f"--unix-socket={self._socket}",
            f"--accept-paths={PATHS.format(kubectl.namespace)}",
            "--reject-methods=^(POST|PUT|PATCH|DELETE|OPTIONS|HEAD)$",
        )
        try:
            # Standard input is the user's: programs that kubectl starts for credentials may ask for a password.
            return subprocess.Popen(  # noqa: S603 - the user's kubectl, without a shell
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                # However this process exits, no process with the user's permissions remains.
                preexec_fn=partial(set_death_signal, signal.SIGTERM),  # noqa: PLW1509 - there are no threads yet
            )
        except OSError as error:
            raise HubError(f"{command[0]} cannot be executed: {error.strerror}") from None

    def _wait_until_it_listens(self) -> None:
        listening = threading.Event()
        readers = [
            self._read(self._process.stdout, lambda _line: listening.set(), listening.set),
            self._read(self._process.stderr, self._keep_error, lambda: None),
        ]
        listening.wait(START_SECONDS)
        if self._process.poll() is None and self._socket.exists():
            return
        if self._process.poll() is None and not listening.is_set():
            raise HubError(f"kubectl proxy did not start within {START_SECONDS:g} s")
        self._process.kill()
        for reader in readers:
            reader.join(_STOP_SECONDS)
        reason = " ".join(self._errors) or "no message"
        raise HubError(f"kubectl proxy does not start: {reason.removeprefix('error: ')}")

    def _keep_error(self, line: str) -> None:
        self._errors.append(line)
        if self._socket.exists() and not _LOG_LINE.match(line):
            # A program for credentials may ask the user to do something.
            echo(line, error=True)

    @staticmethod
    def _read(stream: IO[str] | None, use: Callable[[str], None], end: Callable[[], None]) -> threading.Thread:
        """Read lines in a thread, which ends with the process."""

        def read() -> None:
            for line in iter(partial(stream.readline, _LINE_BYTES), "") if stream else ():
                use(line.strip())
            end()

        thread = threading.Thread(target=read, name="kubectl proxy", daemon=True)
        thread.start()
        return thread

    def get(self, path: str, *, timeout: float, max_bytes: int) -> Response:
        """Send a request, and return the response. Any number of threads may call this.

        Raises:
            UnfinishedError: there was no complete response in time, or it is too large.
        """
        end = time.monotonic() + timeout
        # HTTP/1.0: the end of the connection is the end of the response.
        lines = [f"GET {path} HTTP/1.0", "Host: localhost", "Accept: application/json", "Accept-Encoding: gzip"]
        request = "\r\n".join([*lines, f"{NOT_A_PAGE}: 1", "", ""])
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(timeout)
                client.connect(str(self._socket))
                client.sendall(request.encode())
                received = _receive(client, end, max_bytes)
        except TimeoutError:
            raise UnfinishedError(f"did not answer within {timeout:g} s") from None
        except OSError as error:
            raise UnfinishedError(f"kubectl proxy does not answer: {error.strerror}") from None
        return _response(received, max_bytes)

    def close(self) -> None:
        """Stop kubectl, and remove its socket."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)


def _receive(client: socket.socket, end: float, max_bytes: int) -> bytes:
    """Receive everything that a server sends, however slowly, until `end`, a time by `time.monotonic`."""
    received = bytearray()
    while (left := end - time.monotonic()) > 0:
        client.settimeout(left)
        chunk = client.recv(_CHUNK)
        if not chunk:
            return bytes(received)
        received += chunk
        if len(received) > max_bytes:
            raise UnfinishedError(f"sent more than {max_bytes} bytes")
    raise TimeoutError


def _response(received: bytes, max_bytes: int) -> Response:
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    code = _STATUS.match(status)
    if not code:
        raise UnfinishedError("sent something other than HTTP")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    length = headers.get(b"content-length", b"")
    if length.isdigit() and len(body) < int(length[:_LENGTH_DIGITS]):
        raise UnfinishedError(_SHORT)
    if headers.get(b"content-encoding", b"").lower() == b"gzip":
        body = _decompressed(body, max_bytes)
    return Response(int(code[1]), body)


def _decompressed(body: bytes, max_bytes: int) -> bytes:
    decompress = zlib.decompressobj(_GZIP)
    try:
        found = decompress.decompress(body, max_bytes + 1)
    except zlib.error:
        raise UnfinishedError("sent invalid compressed data") from None
    if len(found) > max_bytes:
        raise UnfinishedError(f"sent more than {max_bytes} bytes")
    if not decompress.eof:
        raise UnfinishedError(_SHORT)
    return found
