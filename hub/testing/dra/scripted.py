"""A driver at wire level; a test can choose each of its responses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import grpc.aio

from hub.kubelet.services import add_service
from hub.kubelet.wire import dra_pb2 as wire
from hub.kubelet.wire import drahealth_pb2 as health
from hub.kubelet.wire import pluginregistration_pb2 as registration
from hub.kubelet.wire.pluginregistration_pb2_grpc import RegistrationServicer, add_RegistrationServicer_to_server
from hub.testing.dra.connection import HEALTH_SERVICES, SERVICES
from hub.testing.dra.process import REGISTRY
from hub.testing.kubelet.server import UnixServer

VERSIONS = (*SERVICES, *HEALTH_SERVICES)
"""The services that a driver offers by default."""

Answer = Callable[[Any, Any], Awaitable[Any]]


class ScriptedDriver(RegistrationServicer):
    """An instance of a driver, which records every call.

    Args:
        root: The kubelet's root directory.
        name: The name of the driver.
        instance: The name of the instance, which is in the names of its sockets.
        versions: The services that it offers.
    """

    def __init__(self, root: Path, name: str, instance: str = "a", versions: Sequence[str] = VERSIONS) -> None:
        self.name = name
        self.type = "DRAPlugin"
        self.versions = list(versions)
        self.service_socket = root / "plugins" / name / f"{instance}.sock"
        self.registration_socket = root / REGISTRY / f"{name}-{instance}-reg.sock"
        self.endpoint = str(self.service_socket)
        self.calls: list[tuple[str, list[str]]] = []
        """The calls to prepare and unprepare, with the UIDs of their claims."""
        self.notified: list[tuple[bool, str]] = []
        """What kubelets have reported about the registration."""
        self.prepared: dict[str, list[wire.Device]] = {}
        """By UID, the devices of the claims that do not get the usual device."""
        self.on_prepare: Answer = self._prepare
        self.on_unprepare: Answer = self._unprepare
        self.on_info: Answer = self._info
        self.health: list[health.DeviceHealth] = []
        """The last report; none is sent while it is empty."""
        self._streams: set[asyncio.Queue[list[health.DeviceHealth] | None]] = set()
        self._service: UnixServer | None = None
        self._registration: UnixServer | None = None

    async def start(self) -> Self:
        """Serve, and then appear in the registry."""
        await self.serve()
        await self.register()
        return self

    async def serve(self) -> Self:
        """Listen on the service socket."""
        self.service_socket.parent.mkdir(parents=True, exist_ok=True)
        self._service = UnixServer(self.service_socket, self._add_services)
        await self._service.start()
        return self

    async def register(self) -> None:
        """Create the registration socket, instead of an earlier one."""
        await self.unregister()
        self.registration_socket.parent.mkdir(parents=True, exist_ok=True)
        add = lambda server: add_service(server, add_RegistrationServicer_to_server, self)  # noqa: E731 - one line says it
        self._registration = UnixServer(self.registration_socket, add)
        await self._registration.start()

    async def unregister(self) -> None:
        """Remove the registration socket."""
        if self._registration:
            await self._registration.stop(clean=True)
            self._registration = None

    async def stop(self) -> None:
        """Stop gracefully: unregister, and then end all connections."""
        await self._end(clean=True)

    async def kill(self) -> None:
        """End as on SIGKILL: the sockets' files stay."""
        await self._end(clean=False)

    def report(self, devices: Iterable[health.DeviceHealth]) -> None:
        """Send a report of health on every stream."""
        self.health = list(devices)
        for stream in self._streams:
            stream.put_nowait(self.health)

    def end_streams(self) -> None:
        """End every health stream without an error."""
        for stream in self._streams:
            stream.put_nowait(None)

    @property
    def streams(self) -> int:
        """The number of open health streams."""
        return len(self._streams)

    async def GetInfo(self, request: registration.InfoRequest, context: Any) -> registration.PluginInfo:  # noqa: ANN401 - gRPC's
        """Describe the driver."""
        answer: registration.PluginInfo = await self.on_info(request, context)
        return answer

    async def NotifyRegistrationStatus(
        self, request: registration.RegistrationStatus, context: object
    ) -> registration.RegistrationStatusResponse:
        """Record the kubelet's response."""
        del context
        self.notified.append((request.plugin_registered, request.error))
        return registration.RegistrationStatusResponse()

    async def _end(self, *, clean: bool) -> None:
        self.end_streams()
        for server in (self._registration, self._service):
            if server:
                await server.stop(clean=clean)
        self._registration = self._service = None

    def _add_services(self, server: grpc.aio.Server) -> None:
        prepare = grpc.unary_unary_rpc_method_handler(
            self._note_prepare,
            wire.NodePrepareResourcesRequest.FromString,
            wire.NodePrepareResourcesResponse.SerializeToString,
        )
        unprepare = grpc.unary_unary_rpc_method_handler(
            self._note_unprepare,
            wire.NodeUnprepareResourcesRequest.FromString,
            wire.NodeUnprepareResourcesResponse.SerializeToString,
        )
        watch = grpc.unary_stream_rpc_method_handler(
            self._watch,
            health.NodeWatchResourcesRequest.FromString,
            health.NodeWatchResourcesResponse.SerializeToString,
        )
        calls = {"NodePrepareResources": prepare, "NodeUnprepareResources": unprepare}
        handlers = [
            *((f"{SERVICES[each]}.DRAPlugin", calls) for each in self.versions if each in SERVICES),
            *(
                (f"{HEALTH_SERVICES[each]}.DRAResourceHealth", {"NodeWatchResources": watch})
                for each in self.versions
                if each in HEALTH_SERVICES
            ),
        ]
        server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers)
        )

    async def _note_prepare(self, request: wire.NodePrepareResourcesRequest, context: object) -> Any:  # noqa: ANN401
        self.calls.append(("prepare", [claim.uid for claim in request.claims]))
        return await self.on_prepare(request, context)

    async def _note_unprepare(self, request: wire.NodeUnprepareResourcesRequest, context: object) -> Any:  # noqa: ANN401
        self.calls.append(("unprepare", [claim.uid for claim in request.claims]))
        return await self.on_unprepare(request, context)

    async def _watch(self, _: object, __: object) -> AsyncIterator[health.NodeWatchResourcesResponse]:
        stream: asyncio.Queue[list[health.DeviceHealth] | None] = asyncio.Queue()
        if self.health:
            stream.put_nowait(self.health)
        self._streams.add(stream)
        try:
            while (devices := await stream.get()) is not None:
                yield health.NodeWatchResourcesResponse(devices=devices)
        finally:
            self._streams.discard(stream)

    async def _info(self, _: object, __: object) -> registration.PluginInfo:
        return registration.PluginInfo(
            type=self.type, name=self.name, endpoint=self.endpoint, supported_versions=self.versions
        )

    async def _prepare(self, request: wire.NodePrepareResourcesRequest, _: object) -> wire.NodePrepareResourcesResponse:
        answer = wire.NodePrepareResourcesResponse()
        for claim in request.claims:
            usual = [device("pool", f"device-{claim.uid}", f"example.com/device={claim.uid}")]
            answer.claims[claim.uid].devices.extend(self.prepared.get(claim.uid, usual))
        return answer

    async def _unprepare(
        self, request: wire.NodeUnprepareResourcesRequest, _: object
    ) -> wire.NodeUnprepareResourcesResponse:
        answer = wire.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            answer.claims[claim.uid].error = ""
        return answer


def device(pool: str, name: str, *cdi: str, requests: Iterable[str] = (), share: str | None = None) -> wire.Device:
    """Create a prepared device."""
    return wire.Device(pool_name=pool, device_name=name, cdi_device_ids=cdi, request_names=requests, share_id=share)


def device_health(pool: str, name: str, value: str, message: str = "", timeout: int = 0) -> health.DeviceHealth:
    """Build the health of a device: HEALTHY, UNHEALTHY or UNKNOWN, valid for this many seconds, 0 for the default."""
    return health.DeviceHealth(
        device=health.DeviceIdentifier(pool_name=pool, device_name=name),
        health=health.HealthStatus.Value(value),
        message=message,
        health_check_timeout_seconds=timeout,
    )


def fails(error: str) -> Answer:
    """Create a response with this error for each claim, for `on_prepare` and `on_unprepare`."""

    async def answer(request: Any, _: object) -> Any:  # noqa: ANN401 - either call
        prepares = isinstance(request, wire.NodePrepareResourcesRequest)
        made = wire.NodePrepareResourcesResponse() if prepares else wire.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            made.claims[claim.uid].error = error
        return made

    return answer
