"""The hub's web endpoints: for the kubelet's probes, for Prometheus, and for people."""

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
"""At one time; of more, the oldest is closed."""

IDLE_SECONDS = 30.0
"""A connection on which nothing comes for so long is closed."""

RESPONSE_TIMEOUT = 1
"""How thoroughly gzip packs; the more thorough ways take longer, and save next to nothing here."""

PAGE = files("hub.supervisor.http") / "page"
"""The files of the page; each is served under its name."""

RETRY_SECONDS = 5.0
"""Between two tries to listen where somebody else does."""

_log = get_logger()


async def serve_web(address: str, reader: Reader, tell: Callable[[str, str], None]) -> None:
    """Listen until cancelled. Where somebody else does, try again and again: plugins are served meanwhile.

    Args:
        address: "HOST:PORT"; port 0 is any free one.
        reader: Reads the node's condition.
        tell: Gets where it listens, as "HOST:PORT", or else why it cannot.
    """
    server = _Server(
        _application(reader),
        # Questions are small, and whoever asks may be anybody: what they can have the hub keep is bounded.
        max_header_size=16 * 1024,
        max_buffer_size=64 * 1024,
        max_body_size=1024,
        idle_connection_timeout=IDLE_SECONDS,
        body_timeout=IDLE_SECONDS,
    )
    try:
        server.add_sockets(await _listen(address, tell))
        await asyncio.Event().wait()
    finally:
        server.stop()


class _Server(HTTPServer):
    def initialize(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - tornado's signature
        super().initialize(*args, **settings)
        self._open: list[IOStream] = []

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        """Take a connection, and end another where so many would leave the plugins without file descriptors.

        The oldest, never the new one: that may be the kubelet's, which kills a hub that does not answer.
        """
        self._open = [*(each for each in self._open if not each.closed()), stream]
        if len(self._open) > CONNECTIONS:
            self._open.pop(0).close()
        super().handle_stream(stream, address)


async def _listen(address: str, tell: Callable[[str, str], None]) -> list[socket.socket]:
    host, port = split_address(address)
    problem = ""
    while True:
        try:
            sockets = bind_sockets(port, host)
        except OSError as error:
            said = f"cannot listen on {address}: {error.strerror}"
            if said != problem:
                tell("", said)
                _log.error("http listen failed", reason=f"{said}; choose another address with --http or DPHUB_HTTP")
            problem = said
            await asyncio.sleep(RETRY_SECONDS)
        else:
            tell(_named(sockets[0]), "")
            return sockets


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT" or "[HOST]:PORT"; ":PORT" is on all addresses, which is no host.

    Raises:
        ConfigError: it is neither.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 0xFFFF:  # noqa: PLR2004 - ports have 16 bits
        raise ConfigError("--http", f'is "{address}", expected HOST:PORT such as 127.0.0.1:9880, or off')
    return host.removeprefix("[").removesuffix("]"), int(port)


def _named(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _application(reader: Reader) -> Application:
    pages: list[tuple[str, type[_Page]]] = [
        ("/healthz", _Healthz),
        ("/readyz", _Readyz),
        ("/status", _Status),
        ("/metrics", _Metrics),
        ("/", _Picture),
        (f"/({'|'.join(re.escape(file.name) for file in PAGE.iterdir())})", _Picture),
    ]
    given = {"status": lambda: reader.status(running=True), "reader": reader}
    return Application(
        [(path, page, given) for path, page in pages], default_handler_class=_NotFound, log_function=_log_request
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
        """None: what is asked for here is another thing each time, and nobody keeps it."""

    def head(self, *path: str) -> None:
        """As GET, without its text."""
        self.get(*path)

    def write_error(self, status_code: int, **_details: Any) -> None:  # noqa: ANN401 - tornado's signature
        """A line instead of tornado's page."""
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(f"{status_code} {self._reason}\n")

    def _say(self, text: str, kind: str = "text/plain") -> None:
        self.set_header("Content-Type", f"{kind}; charset=UTF-8")
        self.finish(text)


class _NotFound(_Page):
    def initialize(self) -> None:  # type: ignore[override] # tornado gives a default handler nothing
        """There is nothing here."""

    def prepare(self) -> None:
        """Whatever is asked for."""
        self.set_status(404)
        self._say("there is nothing here; there are /, /status, /metrics, /healthz and /readyz\n")


class _Healthz(_Page):
    def get(self) -> None:
        """The hub lives, and its event loop turns: else nobody would answer."""
        self._say("ok\n")


class _Readyz(_Page):
    def get(self) -> None:
        """Whether every plugin is registered, or is not for a reason that is no fault."""
        status = self._read_status()
        faults = [problem for problem in status.problems if problem.severity is Severity.ERROR]
        lines = [f"{problem.about}: {problem.message}" for problem in faults]
        lines += [f"{plugin.name}: {plugin.condition}" for plugin in status.plugins if not lines]
        self.set_status(200 if status.ready else 503)
        self._say("".join(f"{line}\n" for line in lines))


class _Status(_Page):
    def get(self) -> None:
        """The node's condition as JSON; packed for who takes that, for thousands of devices are megabytes."""
        text = msgspec.json.encode(self._read_status())
        self.set_header("Content-Type", "application/json")
        self.set_header("Vary", "Accept-Encoding")
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            text = gzip.compress(text, RESPONSE_TIMEOUT)
        self.finish(text)


class _Metrics(_Page):
    def get(self) -> None:
        """For Prometheus."""
        # Loaded by the first scrape: a node that nobody scrapes need not carry it.
        from hub.status.prometheus import CONTENT_TYPE_LATEST, expose  # noqa: PLC0415 - see above

        status = self._read_status()
        found = ((plugin.name, self._reader.heartbeat(plugin.process)) for plugin in status.plugins)
        heartbeats = {name: heartbeat for name, heartbeat in found if heartbeat}
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(expose(status, heartbeats))


class _Picture(_Page):
    def get(self, name: str = "index.html") -> None:
        """The page for people, and its parts."""
        # Nothing is loaded from elsewhere, and nobody else's page may frame it.
        self.set_header("Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'")
        kind = {"html": "text/html", "css": "text/css", "js": "text/javascript"}[name.rpartition(".")[2]]
        self._say((PAGE / name).read_text(encoding="utf-8"), kind)
