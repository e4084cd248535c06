"""A device plugin and a kubelet at wire level; a test can choose each of their responses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import grpc.aio

from hub.kubelet.channel import CHANNEL_OPTIONS, unix_target
from hub.kubelet.services import add_service
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire import v1beta1_pb2_grpc as rpc
from hub.testing.plugin import STUB
from hub.testing.waiting import WAIT_SECONDS

Answer = Callable[[Any, Any], Awaitable[Any]]


def device(name: str, *, healthy: bool = True, numa: Iterable[int] = ()) -> wire.Device:
    """Create one device of a list."""
    nodes = [wire.NUMANode(ID=node) for node in numa]
    health = "Healthy" if healthy else "Unhealthy"
    return wire.Device(ID=name, health=health, topology=wire.TopologyInfo(nodes=nodes) if nodes else None)


def devices(count: int) -> list[wire.Device]:
    """Create this number of healthy devices: d0, d1 and so on."""
    return [device(f"d{number}") for number in range(count)]


def allocated(**fields: Any) -> wire.AllocateResponse:  # noqa: ANN401 - whatever the message has
    """Create the response to an Allocate for one container."""
    return wire.AllocateResponse(container_responses=[wire.ContainerAllocateResponse(**fields)])


class ScriptedPlugin(rpc.DevicePluginServicer):
    """A plugin that serves one socket until it is closed, and records every call.

    Args:
        directory: The kubelet's plugin directory.
        resource: The resource that it registers.
        socket: The name of its socket.
        listed: Its first list of devices.
        pre_start: Whether the kubelet calls it before each start of a container.
        prefers: Whether the kubelet calls it to choose the devices to allocate.
    """

    def __init__(
        self,
        directory: Path,
        resource: str = STUB,
        socket: str = "stub.sock",
        listed: Iterable[wire.Device] = (),
        *,
        pre_start: bool = False,
        prefers: bool = False,
    ) -> None:
        self.directory = directory
        self.resource = resource
        self.socket = socket
        self.listed = list(listed)
        self.options = wire.DevicePluginOptions(
            pre_start_required=pre_start, get_preferred_allocation_available=prefers
        )
        self.calls: list[tuple[str, Any]] = []
        self.called = asyncio.Event()
        """Set by every call except ListAndWatch."""
        self.on_options: Answer = self._options
        self.on_allocate: Answer = self._allocated
        self.on_prefer: Answer = self._no_preference
        self.on_pre_start: Answer = self._started
        self.no_streams = asyncio.Event()
        """Set while no stream is open."""
        self.no_streams.set()
        self._streams: set[asyncio.Queue[list[wire.Device] | None]] = set()
        self._server: grpc.aio.Server | None = None

    async def serve(self) -> Self:
        """Listen on the socket."""
        self._server = grpc.aio.server()
        add_service(self._server, rpc.add_DevicePluginServicer_to_server, self)
        self._server.add_insecure_port(unix_target(self.directory / self.socket))
        await self._server.start()
        return self

    async def register(
        self,
        version: str = "v1beta1",
        endpoint: str | None = None,
        timeout: float = WAIT_SECONDS,  # noqa: ASYNC109 - the call's deadline
    ) -> None:
        """Register with the kubelet; the options in the request are the opposite of the true ones."""
        request = wire.RegisterRequest(
            version=version,
            endpoint=self.socket if endpoint is None else endpoint,
            resource_name=self.resource,
            options=wire.DevicePluginOptions(
                pre_start_required=not self.options.pre_start_required,
                get_preferred_allocation_available=not self.options.get_preferred_allocation_available,
            ),
        )
        kubelet = unix_target(self.directory / "kubelet.sock")
        async with grpc.aio.insecure_channel(kubelet, options=CHANNEL_OPTIONS) as channel:
            await rpc.RegistrationStub(channel).Register(request, timeout=timeout)

    def send(self, listed: Iterable[wire.Device]) -> None:
        """Send this list on every stream."""
        self.listed = list(listed)
        for stream in self._streams:
            stream.put_nowait(self.listed)

    def end_streams(self) -> None:
        """End every stream without an error, and continue to serve."""
        for stream in self._streams:
            stream.put_nowait(None)

    @property
    def streams(self) -> int:
        """The number of open ListAndWatch streams."""
        return len(self._streams)

    def names(self) -> list[str]:
        """Return the names of the calls so far, in order."""
        return [name for name, _ in self.calls]

    def requests(self, call: str) -> list[Any]:
        """Return the container entries of a call's requests, or the requests if they have none."""
        requests = [request for name, request in self.calls if name == call]
        return [getattr(request, "container_requests", [request])[0] for request in requests]

    async def close(self) -> None:
        """Disappear as a killed process does, and remove the socket."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    async def GetDevicePluginOptions(self, request: wire.Empty, context: object) -> wire.DevicePluginOptions:
        """Return the true options."""
        answer: wire.DevicePluginOptions = await self._note("GetDevicePluginOptions", request, context, self.on_options)
        return answer

    async def ListAndWatch(self, request: wire.Empty, context: object) -> AsyncIterator[wire.ListAndWatchResponse]:
        """Send the list, and then each list that `send` is given."""
        del request, context
        stream: asyncio.Queue[list[wire.Device] | None] = asyncio.Queue()
        stream.put_nowait(self.listed)
        self._streams.add(stream)
        self.no_streams.clear()
        try:
            while (listed := await stream.get()) is not None:
                yield wire.ListAndWatchResponse(devices=listed)
        finally:
            self._streams.discard(stream)
            if not self._streams:
                self.no_streams.set()

    async def GetPreferredAllocation(
        self, request: wire.PreferredAllocationRequest, context: object
    ) -> wire.PreferredAllocationResponse:
        """Answer as `on_prefer` does."""
        answer: wire.PreferredAllocationResponse = await self._note(
            "GetPreferredAllocation", request, context, self.on_prefer
        )
        return answer

    async def Allocate(self, request: wire.AllocateRequest, context: object) -> wire.AllocateResponse:
        """Answer as `on_allocate` does."""
        answer: wire.AllocateResponse = await self._note("Allocate", request, context, self.on_allocate)
        return answer

    async def PreStartContainer(
        self, request: wire.PreStartContainerRequest, context: object
    ) -> wire.PreStartContainerResponse:
        """Answer as `on_pre_start` does."""
        answer: wire.PreStartContainerResponse = await self._note(
            "PreStartContainer", request, context, self.on_pre_start
        )
        return answer

    async def _note(self, name: str, request: object, context: object, answer: Answer) -> Any:  # noqa: ANN401 - the call's response
        self.calls.append((name, request))
        self.called.set()
        return await answer(request, context)

    async def _options(self, _: wire.Empty, __: object) -> wire.DevicePluginOptions:
        return self.options

    async def _allocated(self, _: wire.AllocateRequest, __: object) -> wire.AllocateResponse:
        return allocated()

    async def _no_preference(self, _: wire.PreferredAllocationRequest, __: object) -> wire.PreferredAllocationResponse:
        return wire.PreferredAllocationResponse()

    async def _started(self, _: wire.PreStartContainerRequest, __: object) -> wire.PreStartContainerResponse:
        return wire.PreStartContainerResponse()


def refuse(code: grpc.StatusCode, message: str) -> Answer:
    """Create a response that is an error."""

    async def answer(_: object, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        await context.abort(code, message)

    return answer


async def hang(_: object, __: object) -> None:
    """Never answer."""
    await asyncio.Event().wait()


class ScriptedKubelet(rpc.RegistrationServicer):
    """A kubelet that rejects registrations, or accepts them and does nothing more.

    For what a real kubelet never does; `FakeKubelet` behaves like a real one.

    Args:
        plugin_dir: Where it listens.
        refusal: The message with which it rejects; empty to accept.
    """

    def __init__(self, plugin_dir: Path, refusal: str) -> None:
        self._path = plugin_dir / "kubelet.sock"
        self.refusal = refusal
        self.requests: list[wire.RegisterRequest] = []

    async def Register(self, request: wire.RegisterRequest, context: Any) -> wire.Empty:  # noqa: ANN401 - gRPC's
        """Record the request and answer."""
        self.requests.append(request)
        if self.refusal:
            await context.abort(grpc.StatusCode.UNKNOWN, self.refusal)
        return wire.Empty()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Self]:
        """Listen until the block ends."""
        server = grpc.aio.server()
        add_service(server, rpc.add_RegistrationServicer_to_server, self)
        server.add_insecure_port(unix_target(self._path))
        await server.start()
        try:
            yield self
        finally:
            await server.stop(grace=None)
