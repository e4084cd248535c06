"""The fake API server, as tests and demos use it."""

import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from hub.testing.apiserver.access import DRIVER_PERMISSIONS, Access
from hub.testing.apiserver.certificate import make_certificate
from hub.testing.apiserver.faults import Faults
from hub.testing.apiserver.gates import enabled
from hub.testing.apiserver.handler import Handler, Parts, Request
from hub.testing.apiserver.kinds import NODES, Object
from hub.testing.apiserver.resources import Resources
from hub.testing.apiserver.store import Store
from hub.testing.apiserver.watching import Watches

_ADDRESS = "127.0.0.1"
_DRIVER_USER = "system:serviceaccount:dphub:dphub-dra"


class FakeApiServer:
    """A Kubernetes API server for drivers of dynamic resource allocation. `async with` starts it.

    Args:
        directory: Where it creates its certificate and service accounts for nodes; without it, there is no TLS.
        version: The Kubernetes version.
        gates: The feature gates that are on; by default those of the version.
        bookmark_interval: Seconds between the bookmarks of a watch.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        version: str = "1.36",
        gates: Iterable[str] | None = None,
        bookmark_interval: float = 60.0,
    ) -> None:
        self.store = Store()
        self.access = Access()
        self.faults = Faults()
        self.watches = Watches(self.store, bookmark_interval)
        self.requests: list[Request] = []
        """The latest requests."""
        self.port = 0
        self._gates = enabled(version) if gates is None else frozenset(gates)
        self._resources = Resources(self.store, version, self._gates)
        self.directory = directory
        self._context: ssl.SSLContext | None = None
        if directory is not None:
            certificate, key = make_certificate(directory, _ADDRESS)
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(certificate, key)
        self._server: HTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._context else 'http'}://{_ADDRESS}:{self.port}"

    @property
    def authority(self) -> Path | None:
        """The file with the certificate of its authority; None without TLS."""
        return self.directory / "server.crt" if self.directory else None

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables by which a process in a pod finds the server."""
        return {"KUBERNETES_SERVICE_HOST": _ADDRESS, "KUBERNETES_SERVICE_PORT": str(self.port)}

    def has_gate(self, name: str) -> bool:
        """Return whether a feature gate is on."""
        return name in self._gates

    def add_node(self, name: str, allocatable: Mapping[str, int] | None = None) -> Object:
        """Create a node with these allocatable devices, and return it."""
        counts = {resource: str(count) for resource, count in (allocatable or {}).items()}
        labels = {"kubernetes.io/hostname": name}
        node = {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"allocatable": counts}}
        return self.store.create(NODES, node)

    def driver_token(self, node: str) -> str:
        """Return a new token of the driver's service account in a pod of a node."""
        return self.access.issue(_DRIVER_USER, DRIVER_PERMISSIONS, node)

    def kubelet_token(self, node: str) -> str:
        """Return a new token of a node's kubelet."""
        return self.access.issue(f"system:node:{node}", None)

    def write_account(self, node: str, token: str | None = None) -> Path:
        """Write the files of the driver's service account in a pod of a node, and return their directory.

        A second call replaces the token, as the kubelet does.

        Raises:
            RuntimeError: the server has no directory.
        """
        if self.directory is None:
            raise RuntimeError("a server without a directory cannot write the files of a service account")
        account = self.directory / f"account-{node}"
        account.mkdir(exist_ok=True)
        (account / "ca.crt").write_bytes((self.directory / "server.crt").read_bytes())
        scratch = account / ".token"
        scratch.write_text(token or self.driver_token(node))
        scratch.replace(account / "token")
        return account

    async def start(self) -> None:
        """Start listening; after a stop, on the same port as before."""
        sockets = bind_sockets(self.port, _ADDRESS)
        self.port = sockets[0].getsockname()[1]
        parts = Parts(self.access, self.faults, self._resources, self.watches, self.requests)
        application = Application([(r"/.*", Handler, {"parts": parts})], log_function=lambda _: None)
        self._server = HTTPServer(application, ssl_options=self._context)
        self._server.add_sockets(sockets)

    async def stop(self) -> None:
        """Stop, and close all connections; the objects stay."""
        if self._server is not None:
            self._server.stop()
            self.watches.end()
            await self._server.close_all_connections()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
