"""A device plugin on the bare wire, whose every answer a test can choose, and a node with a fake kubelet for it."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import grpc.aio

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire import v1beta1_pb2_grpc as rpc
from hub.testing.kubelet import FakeKubelet
from tests.harness.support import PATIENCE

STUB = "example.com/stub"

Answer = Callable[[Any, Any], Awaitable[Any]]


def device(name: str, *, healthy: bool = True, numa: Iterable[int] = ()) -> wire.Device:
    """One device of a list."""
    nodes = [wire.NUMANode(ID=node) for node in numa]
    health = "Healthy" if healthy else "Unhealthy"
    return wire.Device(ID=name, health=health, topology=wire.TopologyInfo(nodes=nodes) if nodes else None)


def devices(count: int) -> list[wire.Device]:
    """So many healthy devices, d0 and on."""
    return [device(f"d{number}") for number in range(count)]


def allocated(**fields: Any) -> wire.AllocateResponse:  # noqa: ANN401 - whatever the message has
    """The answer to an Allocate, for its one container."""
    return wire.AllocateResponse(container_responses=[wire.ContainerAllocateResponse(**fields)])


class WirePlugin(rpc.DevicePluginServicer):
    """Serves one socket until closed; notes every call.

    Args:
        directory: The kubelet's plugin directory.
        resource: What it registers.
        socket: The name of its socket.
        listed: Its devices at first.
        pre_start: Whether it wants to be told of container starts.
        prefers: Whether it wants to be asked which devices to take.
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
        """Set by every call but ListAndWatch."""
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
        """Listen."""
        self._server = grpc.aio.server()
        rpc.add_DevicePluginServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.directory / self.socket}")
        await self._server.start()
        return self

    async def register(self, version: str = "v1beta1", endpoint: str | None = None, timeout: float = PATIENCE) -> None:  # noqa: ASYNC109 - the call's deadline
        """Register with the kubelet; options in the request are the opposite of the true ones."""
        request = wire.RegisterRequest(
            version=version,
            endpoint=self.socket if endpoint is None else endpoint,
            resource_name=self.resource,
            options=wire.DevicePluginOptions(
                pre_start_required=not self.options.pre_start_required,
                get_preferred_allocation_available=not self.options.get_preferred_allocation_available,
            ),
        )
        kubelet = f"unix:{self.directory}/kubelet.sock"
        async with grpc.aio.insecure_channel(kubelet, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            await rpc.RegistrationStub(channel).Register(request, timeout=timeout)

    def send(self, listed: Iterable[wire.Device]) -> None:
        """Send this list on every stream."""
        self.listed = list(listed)
        for stream in self._streams:
            stream.put_nowait(self.listed)

    def end_streams(self) -> None:
        """End every stream well, and go on serving."""
        for stream in self._streams:
            stream.put_nowait(None)

    @property
    def streams(self) -> int:
        """How many ListAndWatch streams are open."""
        return len(self._streams)

    def names(self) -> list[str]:
        """Which calls came, in order."""
        return [name for name, _ in self.calls]

    def requests(self, call: str) -> list[Any]:
        """The container entries of this call's requests, or the requests where they have none."""
        requests = [request for name, request in self.calls if name == call]
        return [getattr(request, "container_requests", [request])[0] for request in requests]

    async def close(self) -> None:
        """Vanish, as a killed process does; the socket goes too."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    async def GetDevicePluginOptions(self, request: wire.Empty, context: object) -> wire.DevicePluginOptions:
        """The options that count."""
        answer: wire.DevicePluginOptions = await self._note("GetDevicePluginOptions", request, context, self.on_options)
        return answer

    async def ListAndWatch(self, request: wire.Empty, context: object) -> AsyncIterator[wire.ListAndWatchResponse]:
        """The list now, and each one that send() sends."""
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
        """What on_prefer says."""
        answer: wire.PreferredAllocationResponse = await self._note(
            "GetPreferredAllocation", request, context, self.on_prefer
        )
        return answer

    async def Allocate(self, request: wire.AllocateRequest, context: object) -> wire.AllocateResponse:
        """What on_allocate says."""
        answer: wire.AllocateResponse = await self._note("Allocate", request, context, self.on_allocate)
        return answer

    async def PreStartContainer(
        self, request: wire.PreStartContainerRequest, context: object
    ) -> wire.PreStartContainerResponse:
        """What on_pre_start says."""
        answer: wire.PreStartContainerResponse = await self._note(
            "PreStartContainer", request, context, self.on_pre_start
        )
        return answer

    async def _note(self, name: str, request: object, context: object, answer: Answer) -> Any:  # noqa: ANN401 - the call's answer
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


def refuse(code: grpc.StatusCode, words: str) -> Answer:
    """An answer that is an error."""

    async def answer(_: object, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        await context.abort(code, words)

    return answer


async def hang(_: object, __: object) -> None:
    """An answer that never comes."""
    await asyncio.Event().wait()


class Node:
    """A plugin directory with a running fake kubelet, and the plugins of a test."""

    def __init__(self, kubelet: FakeKubelet, directory: Path, stack: AsyncExitStack) -> None:
        self.kubelet = kubelet
        self.directory = directory
        self._stack = stack

    async def plugin(
        self,
        resource: str = STUB,
        socket: str = "stub.sock",
        *,
        register: bool = True,
        **kwargs: Any,  # noqa: ANN401
    ) -> WirePlugin:
        """A plugin that serves, and has registered if so wanted; it ends with the node."""
        plugin = await WirePlugin(self.directory, resource, socket, **kwargs).serve()
        self._stack.push_async_callback(plugin.close)
        if register:
            await plugin.register()
            await self.kubelet.wait_until(lambda kubelet: bool(kubelet.lists(resource)), what="the first list")
        return plugin


@asynccontextmanager
async def node(**settings: Any) -> AsyncIterator[Node]:  # noqa: ANN401 - the kubelet's settings
    """A node that leaves no task behind."""
    before = asyncio.all_tasks()
    root = Path(tempfile.mkdtemp(prefix="fk", dir="/tmp"))  # short, as socket paths must be
    try:
        async with AsyncExitStack() as stack:
            kubelet = await stack.enter_async_context(FakeKubelet(root / "dp", **settings))
            yield Node(kubelet, root / "dp", stack)
    finally:
        shutil.rmtree(root)
    # A gRPC server that is cut off, as the plugins are, needs a moment to end its tasks.
    if left := asyncio.all_tasks() - before:
        _, left = await asyncio.wait(left, timeout=PATIENCE)
    assert not left, f"tasks left behind: {left}"
