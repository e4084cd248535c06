"""The two sockets of a driver: one through which the kubelet discovers it, and one on which it serves."""

from pathlib import Path
from typing import Any, Protocol

import grpc.aio

from hub.base.changecount import ChangeCounter
from hub.base.failures import one_line
from hub.base.log import get_logger
from hub.base.sockets import is_served, short_socket_name
from hub.kubelet.channel import SERVER_OPTIONS, unix_target
from hub.kubelet.services import add_service
from hub.kubelet.wire import pluginregistration_pb2 as wire
from hub.kubelet.wire.pluginregistration_pb2_grpc import RegistrationServicer, add_RegistrationServicer_to_server

TYPE = "DRAPlugin"

ERROR_CHARACTERS = 1024
"""Length to which the kubelet's reason for a rejection is cut: the plugin's report contains it for each resource, and
a message has room for millions of characters."""

STOP_SECONDS = 2.0
"""Seconds for which a stopping server waits for calls in progress. It then aborts them, but a claim that is being
prepared or released is still finished."""

Context = grpc.aio.ServicerContext[Any, Any]


class Service(Protocol):
    """A service of the driver."""

    def attach(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""


class KubeletDirs:
    """The kubelet's directories for drivers, next to its directory for device plugins.

    Args:
        plugin_dir: The directory for device plugins.
    """

    def __init__(self, plugin_dir: Path) -> None:
        self.registry = plugin_dir.parent / "plugins_registry"
        self._drivers = plugin_dir.parent / "plugins"

    def registration_socket(self, driver: str, instance: str) -> Path:
        """Return the socket that the kubelet watches for.

        Raises:
            ConfigError: the path would be too long.
        """
        return self.registry / short_socket_name(f"{driver}-{instance}-reg", self.registry)

    def service_socket(self, driver: str, instance: str) -> Path:
        """Return the socket on which the driver serves.

        Raises:
            ConfigError: the path would be too long.
        """
        directory = self._drivers / driver
        return directory / short_socket_name(f"dra-{instance}", directory)

    def remove_dead(self, driver: str) -> None:
        """Remove the registration sockets of processes that were killed: kubelets would never stop dialling them."""
        for path in self.registry.glob(f"{driver}-*.sock"):
            if path.is_socket() and not is_served(path):
                path.unlink(missing_ok=True)


class Registration(RegistrationServicer):
    """The registration service: describes the driver, and records whether the kubelet accepts it.

    Args:
        driver: The driver's name.
        endpoint: The socket on which it serves.
        versions: The services and their versions, the preferred ones first.
        changed: Notified when the kubelet has accepted or rejected it.

    Attributes:
        accepted: Whether the kubelet has accepted the driver; None before its response.
        error: Why the kubelet has rejected the driver; empty if it has not.
        count: How many times the kubelet has accepted it.
    """

    def __init__(self, driver: str, endpoint: Path, versions: tuple[str, ...], changed: ChangeCounter) -> None:
        self.accepted: bool | None = None
        self.error = ""
        self.count = 0
        self._info = wire.PluginInfo(type=TYPE, name=driver, endpoint=str(endpoint), supported_versions=versions)
        self._changed = changed
        self._log = get_logger()

    async def GetInfo(self, _request: wire.InfoRequest, _context: Context) -> wire.PluginInfo:
        """Describe the driver."""
        return self._info

    async def NotifyRegistrationStatus(
        self, request: wire.RegistrationStatus, _context: Context
    ) -> wire.RegistrationStatusResponse:
        """Record whether the kubelet has accepted the driver."""
        self.accepted, self.error = request.plugin_registered, one_line(request.error[:ERROR_CHARACTERS])
        if self.accepted:
            self.count += 1
            self._log.info("driver registered", driver=self._info.name)
        else:
            self._log.warning("driver rejected", driver=self._info.name, reason=self.error)
        self._changed.bump()
        return wire.RegistrationStatusResponse()


class DraServer:
    """Serves a driver. The registration socket appears last and disappears first, so the kubelet's dial never fails.

    Args:
        registration_socket: The socket that the kubelet watches for.
        service_socket: The socket on which the driver serves.
        registration: The service on the registration socket.
        services: The services on the other socket.
    """

    def __init__(
        self, registration_socket: Path, service_socket: Path, registration: Registration, *services: Service
    ) -> None:
        self._paths = registration_socket, service_socket
        self._registration = registration
        self._services = services
        self._servers: list[grpc.aio.Server] = []

    @property
    def is_reachable(self) -> bool:
        """Whether both sockets exist."""
        return bool(self._servers) and all(path.exists() for path in self._paths)

    async def bind(self) -> None:
        """Remove the previous sockets, then bind both: the kubelet acts on a new registration socket at once.

        Raises:
            OSError: a socket cannot be created.
        """
        await self.close()
        registration, service = self._paths
        service_server = grpc.aio.server(options=SERVER_OPTIONS)
        for each in self._services:
            each.attach(service_server)
        registration_server = grpc.aio.server(options=SERVER_OPTIONS)
        add_service(registration_server, add_RegistrationServicer_to_server, self._registration)
        for server, path in ((service_server, service), (registration_server, registration)):
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            try:
                server.add_insecure_port(unix_target(path))
            except RuntimeError:
                raise OSError(f"cannot bind {path}") from None
            await server.start()
            self._servers.insert(0, server)

    async def close(self) -> None:
        """Unregister, wait a while for the calls that are running, and remove the sockets."""
        servers, self._servers = self._servers, []
        for server in servers:
            await server.stop(STOP_SECONDS)
        if servers:
            for path in self._paths:
                path.unlink(missing_ok=True)
