"""The hub's HTTP endpoints: for the kubelet's probes, Prometheus and people."""

import gzip
import re
from importlib.resources import files
from typing import Any

import msgspec
from msgspec.structs import replace
from tornado.web import Application, Finish, RequestHandler

from hub.base.errors import HubError
from hub.base.printable import printable, printable_json, printable_lines
from hub.base.webheaders import NOT_A_PAGE
from hub.model.node import NodeStatus, PluginStatus, Severity
from hub.status.reader import Reader
from hub.supervisor.http.gate import Gate

COMPRESSION_LEVEL = 1
"""The gzip level; higher levels take longer and save hardly anything here."""

_MISDIRECTED = (
    "the hub is not known by this name; use its IP address or localhost, or allow the name with dphub run --http-host\n"
)
"""The response to a request with an unknown Host header."""

PAGE = files("hub.supervisor.http") / "page"
"""The page's files, each served under its own name."""


def application(reader: Reader, gate: Gate | None = None) -> Application:
    """Create the application that answers requests.

    Args:
        reader: Reads the status of the node.
        gate: The gate that each request has to pass first.
    """
    pages: list[tuple[str, type[_Page]]] = [
        ("/healthz", _Healthz),
        ("/readyz", _Readyz),
        ("/status", _Status),
        ("/history", _History),
        ("/metrics", _Metrics),
        ("/", _PageFile),
        (f"/({'|'.join(re.escape(file.name) for file in PAGE.iterdir())})", _PageFile),
    ]
    arguments = {"reader": reader, "gate": gate}
    return Application(
        [(path, page, arguments) for path, page in pages],
        default_handler_class=_NotFound,
        default_handler_args=arguments,
        # Clients must not be able to fill the log.
        log_function=lambda _handler: None,
    )


class _Page(RequestHandler):
    def initialize(self, reader: Reader, gate: Gate | None) -> None:
        self._reader = reader
        self._gate = gate

    async def prepare(self) -> None:
        """Delay or reject a request, as the gate decides."""
        if self._gate is None:
            return
        headers = self.request.headers
        # Without this header, Tornado would assume an address.
        name = self.request.host_name if "Host" in headers else ""
        if self._gate.accepts(name, by_page=NOT_A_PAGE not in headers):
            await self._gate.budget.wait()
        else:
            self.set_status(421)
            self._write_text(_MISDIRECTED)

    def _read_status(self) -> NodeStatus:
        """Read the status; if the hub's own report cannot be read, respond with 503 and the reason."""
        try:
            return self._reader.status(running=True)
        except HubError as error:
            self.set_status(503)
            self._write_text(f"{printable(error)}\n")
            raise Finish from None

    def set_default_headers(self) -> None:
        self.set_header("Server", "dphub")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        # No other site may embed any of this, in a frame or otherwise.
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Content-Security-Policy", "frame-ancestors 'none'")

    def compute_etag(self) -> None:
        """Do not send an ETag: each response differs, and none is cached."""

    def head(self, *path: str) -> None:
        """Respond as for GET; Tornado omits the body."""
        self.get(*path)

    def write_error(self, status_code: int, **_details: Any) -> None:  # noqa: ANN401 - tornado's signature
        """Write one line instead of Tornado's error page."""
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(f"{status_code} {self._reason}\n")

    def _write_text(self, text: str) -> None:
        """Write lines, whose text may be from a file that any plugin can replace."""
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(printable_lines(text))

    def _write_json(self, document: object) -> None:
        """Write JSON; compressed for clients that accept it, since thousands of devices take up megabytes."""
        text = printable_json(msgspec.json.encode(document))
        self.set_header("Content-Type", "application/json")
        self.set_header("Vary", "Accept-Encoding")
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            text = gzip.compress(text, COMPRESSION_LEVEL)
        self.finish(text)


class _NotFound(_Page):
    async def prepare(self) -> None:
        """Respond to any method."""
        await super().prepare()
        if not self._finished:
            self.set_status(404)
            self._write_text("not found; the paths are /, /status, /history, /metrics, /healthz and /readyz\n")


class _Healthz(_Page):
    def get(self) -> None:
        """Respond, which shows that the hub's event loop is running."""
        self._write_text("ok\n")


class _Readyz(_Page):
    def get(self) -> None:
        """Respond with 200 if every plugin is registered, or has a reason not to be that is not an error."""
        status = self._read_status()
        errors = [problem for problem in status.problems if problem.severity is Severity.ERROR]
        lines = [f"{problem.about}: {problem.message}" for problem in errors]
        lines += [f"{plugin.name}: {plugin.condition}" for plugin in status.plugins if not lines]
        self.set_status(200 if status.ready else 503)
        self._write_text("".join(f"{printable(line)}\n" for line in lines))


class _Status(_Page):
    def get(self) -> None:
        """Write the status as JSON."""
        self._write_json(_without_digests(self._read_status()))


class _History(_Page):
    def get(self) -> None:
        """Write which containers used the node's devices, as JSON."""
        plugins = [plugin.name for plugin in self._read_status().plugins]
        self._write_json(self._reader.history(plugins))


def _without_digests(status: NodeStatus) -> NodeStatus:
    """Remove the digests of configuration files: with a digest, a client could test guesses of what a file contains."""
    return replace(status, plugins=tuple(map(_without_digest, status.plugins)))


def _without_digest(plugin: PluginStatus) -> PluginStatus:
    if (config := plugin.report.config) is None:
        return plugin
    return replace(plugin, report=replace(plugin.report, config=replace(config, digest="")))


class _Metrics(_Page):
    def get(self) -> None:
        """Write the metrics for Prometheus."""
        # Loaded by the first scrape, to save memory on nodes that are not scraped.
        from hub.status.prometheus import CONTENT_TYPE_LATEST, expose  # noqa: PLC0415 - see above

        status = self._read_status()
        found = ((plugin.name, self._reader.heartbeat(plugin.process)) for plugin in status.plugins)
        heartbeats = {name: heartbeat for name, heartbeat in found if heartbeat}
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(printable_lines(expose(status, heartbeats).decode()))


class _PageFile(_Page):
    def get(self, name: str = "index.html") -> None:
        """Write one of the page's files."""
        # The page loads nothing from other sites.
        self.set_header("Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'")
        kind = {"html": "text/html", "css": "text/css", "js": "text/javascript"}[name.rpartition(".")[2]]
        self.set_header("Content-Type", f"{kind}; charset=UTF-8")
        self.finish((PAGE / name).read_text(encoding="utf-8"))
