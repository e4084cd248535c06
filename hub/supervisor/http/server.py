"""The hub's HTTP endpoints: for the kubelet's probes, Prometheus and people."""

import asyncio
import gzip
import re
import socket
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import msgspec
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from hub.base.errors import ConfigError
from hub.base.log import get_logger
from hub.model.node import NodeStatus, Severity
from hub.status.reader import Reader

CONNECTIONS = 64
"""Maximum number of open connections; with more, the oldest is closed."""

IDLE_SECONDS = 30.0
"""A connection without traffic is closed after this time."""

COMPRESSION_LEVEL = 1
"""Of gzip; higher levels take longer and save hardly anything here."""

PAGE = files("hub.supervisor.http") / "page"
"""The files of the page, each served under its name."""

RETRY_SECONDS = 5.0
"""Between two attempts to listen on an address that another process uses."""

_log = get_logger()


async def serve_web(address: str, reader: Reader, report: Callable[[str, str], None]) -> None:
    """Serve until cancelled. While another process uses the address, keep trying: the plugins work without it.

    Args:
        address: "HOST:PORT"; port 0 is any free port.
        reader: Reads the status of the node.
        report: Called with the address, as "HOST:PORT", or else with "" and the reason why it cannot listen.
    """
    server = _Server(
        _application(reader),
        # Any process may be a client, and requests are small: the memory that clients can occupy is bounded.
        max_header_size=16 * 1024,
        max_buffer_size=64 * 1024,
        max_body_size=1024,
        idle_connection_timeout=IDLE_SECONDS,
        body_timeout=IDLE_SECONDS,
    )
    try:
        server.add_sockets(await _listen(address, report))
        await asyncio.Event().wait()
    finally:
        server.stop()


class _Server(HTTPServer):
    def initialize(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - tornado's signature
        super().initialize(*args, **settings)
        self._open: list[IOStream] = []

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        """Accept a connection, and close the oldest one where more would leave the plugins without file descriptors.

        Never the new one: it may be the kubelet's, which kills a hub that does not answer.
        """
        self._open = [*(each for each in self._open if not each.closed()), stream]
        if len(self._open) > CONNECTIONS:
            self._open.pop(0).close()
        super().handle_stream(stream, address)


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
            report(_address_of(sockets[0]), "")
            return sockets


def split_address(address: str) -> tuple[str, int]:
    """Split "HOST:PORT" or "[HOST]:PORT"; ":PORT" means all addresses, and an empty host.

    Raises:
        ConfigError: it has neither form.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 0xFFFF:  # noqa: PLR2004 - ports have 16 bits
        raise ConfigError("--http", f'is "{address}", expected HOST:PORT such as 127.0.0.1:9880, or off')
    return host.removeprefix("[").removesuffix("]"), int(port)


def _address_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _application(reader: Reader) -> Application:
    pages: list[tuple[str, type[_Page]]] = [
        ("/healthz", _Healthz),
        ("/readyz", _Readyz),
        ("/status", _Status),
        ("/metrics", _Metrics),
        ("/", _PageFile),
        (f"/({'|'.join(re.escape(file.name) for file in PAGE.iterdir())})", _PageFile),
    ]
    arguments = {"status": lambda: reader.status(running=True), "reader": reader}
    return Application(
        [(path, page, arguments) for path, page in pages], default_handler_class=_NotFound, log_function=_log_request
    )


def _log_request(handler: RequestHandler) -> None:
    _log.debug("http request served", path=handler.request.path, status=handler.get_status())


class _Page(RequestHandler):
    def initialize(self, status: Callable[[], NodeStatus], reader: Reader) -> None:
        self._read_status = status
        self._reader = reader

    def set_default_headers(self) -> None:
        self.set_header("Server", "dphub")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> None:
        """Send no ETag: each response differs, and none is cached."""

    def head(self, *path: str) -> None:
        """Respond as to GET; Tornado omits the body."""
        self.get(*path)

    def write_error(self, status_code: int, **_details: Any) -> None:  # noqa: ANN401 - tornado's signature
        """Write a line instead of Tornado's page."""
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(f"{status_code} {self._reason}\n")

    def _write_text(self, text: str, kind: str = "text/plain") -> None:
        self.set_header("Content-Type", f"{kind}; charset=UTF-8")
        self.finish(text)


class _NotFound(_Page):
    def initialize(self) -> None:  # type: ignore[override] # tornado gives a default handler nothing
        """Take no arguments."""

    def prepare(self) -> None:
        """Respond to any method."""
        self.set_status(404)
        self._write_text("not found; the paths are /, /status, /metrics, /healthz and /readyz\n")


class _Healthz(_Page):
    def get(self) -> None:
        """Respond, which shows that the hub's event loop runs."""
        self._write_text("ok\n")


class _Readyz(_Page):
    def get(self) -> None:
        """Respond with 200 if every plugin is registered, or has a reason not to be that is not an error."""
        status = self._read_status()
        errors = [problem for problem in status.problems if problem.severity is Severity.ERROR]
        lines = [f"{problem.about}: {problem.message}" for problem in errors]
        lines += [f"{plugin.name}: {plugin.condition}" for plugin in status.plugins if not lines]
        self.set_status(200 if status.ready else 503)
        self._write_text("".join(f"{line}\n" for line in lines))


class _Status(_Page):
    def get(self) -> None:
        """Write the status as JSON; compressed for clients that accept it, since thousands of devices are megabytes."""
        text = msgspec.json.encode(self._read_status())
        self.set_header("Content-Type", "application/json")
        self.set_header("Vary", "Accept-Encoding")
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            text = gzip.compress(text, COMPRESSION_LEVEL)
        self.finish(text)


class _Metrics(_Page):
    def get(self) -> None:
        """Write the metrics for Prometheus."""
        # Loaded by the first scrape, to save memory on nodes that are not scraped.
        from hub.status.prometheus import CONTENT_TYPE_LATEST, expose  # noqa: PLC0415 - see above

        status = self._read_status()
        found = ((plugin.name, self._reader.heartbeat(plugin.process)) for plugin in status.plugins)
        heartbeats = {name: heartbeat for name, heartbeat in found if heartbeat}
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(expose(status, heartbeats))


class _PageFile(_Page):
    def get(self, name: str = "index.html") -> None:
        """Write a file of the page."""
        # The page loads nothing from elsewhere, and other pages may not frame it.
        self.set_header("Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'")
        kind = {"html": "text/html", "css": "text/css", "js": "text/javascript"}[name.rpartition(".")[2]]
        self._write_text((PAGE / name).read_text(encoding="utf-8"), kind)
