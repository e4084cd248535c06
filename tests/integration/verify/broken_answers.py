"""Plugins that break the rules about their responses: lists, streams, and what a container gets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import grpc.aio

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.scripted import device, refuse
from tests.integration.verify.model import SLOW, ModelPlugin, breaks

# Lists.


@breaks("first-list")
class _NoList(ModelPlugin):
    async def ListAndWatch(self, request: wire.Empty, context: object) -> AsyncIterator[wire.ListAndWatchResponse]:
        await asyncio.Event().wait()
        async for each in super().ListAndWatch(request, context):
            yield each


class _Listing(ModelPlugin):
    """A plugin that lists these devices in addition to a good one."""

    devices: Iterable[wire.Device] = ()

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.listed = [device("d0"), *self.devices]


@breaks("list-size")
class _HugeList(_Listing):
    devices = (device("d" * 5_000_000),)


@breaks("ids-unique")
class _SameIds(_Listing):
    devices = (device("d0"),)


@breaks("ids-short")
class _LongId(_Listing):
    devices = (device("d" * 64),)


@breaks("health-words")
class _LowerCase(_Listing):
    devices = (wire.Device(ID="d1", health="healthy"),)


@breaks("numa-nodes")
class _UnknownNode(_Listing):
    devices = (device("d1", numa=[-1]),)


@breaks("sent-on-change")
class _Repeats(ModelPlugin):
    def change_if_asked(self) -> None:
        self.send(self.listed)


# Streams.


@breaks("stream-stays-open")
class _Returns(ModelPlugin):
    async def ListAndWatch(self, request: wire.Empty, context: object) -> AsyncIterator[wire.ListAndWatchResponse]:
        del request, context
        yield wire.ListAndWatchResponse(devices=self.listed)


@breaks("several-streams")
class _OneStream(ModelPlugin):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._one_at_a_time = asyncio.Lock()

    async def ListAndWatch(self, request: wire.Empty, context: object) -> AsyncIterator[wire.ListAndWatchResponse]:
        async with self._one_at_a_time:
            async for each in super().ListAndWatch(request, context):
                yield each


@breaks("streams-independent")
class _AllEnd(ModelPlugin):
    async def ListAndWatch(self, request: wire.Empty, context: object) -> AsyncIterator[wire.ListAndWatchResponse]:
        try:
            async for each in super().ListAndWatch(request, context):
                yield each
        finally:
            self.end_streams()


@breaks("changes-everywhere")
class _OneIsInformed(ModelPlugin):
    def send(self, listed: Iterable[wire.Device]) -> None:
        self.listed = list(listed)
        next(iter(self._streams)).put_nowait(self.listed)


# Allocate.


@breaks("allocate-answers")
class _NothingAllocated(ModelPlugin):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.on_allocate = refuse(grpc.StatusCode.INTERNAL, "not today")


@breaks("allocate-quick")
class _SlowAllocate(ModelPlugin):
    async def allocate(self, request: wire.AllocateRequest, context: Any) -> wire.AllocateResponse:  # noqa: ANN401 - gRPC's
        await asyncio.sleep(SLOW)
        return await super().allocate(request, context)


@breaks("allocate-again")
class _TakenForGood(ModelPlugin):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._taken: set[str] = set()

    async def check(self, ids: list[str], context: Any) -> None:  # noqa: ANN401 - gRPC's
        await super().check(ids, context)
        if self._taken & set(ids):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "taken")
        self._taken |= set(ids)


@breaks("allocate-same")
class _Counts(ModelPlugin):
    def given(self, entry: wire.ContainerAllocateRequest) -> wire.ContainerAllocateResponse:
        del entry
        return wire.ContainerAllocateResponse(envs={"MODEL": str(len(self.calls))})


@breaks("allocate-each-container")
class _FirstContainer(ModelPlugin):
    async def allocate(self, request: wire.AllocateRequest, context: Any) -> wire.AllocateResponse:  # noqa: ANN401 - gRPC's
        answer = await super().allocate(request, context)
        return wire.AllocateResponse(container_responses=answer.container_responses[:1])


@breaks("refuses-unknown")
class _AcceptsUnknown(ModelPlugin):
    async def check(self, ids: list[str], context: Any) -> None:  # noqa: ANN401 - gRPC's
        known = [name for name in ids if name in {each.ID for each in self.listed}]
        if known:
            await super().check(known, context)


@breaks("refuses-duplicates")
class _AcceptsDuplicates(ModelPlugin):
    async def check(self, ids: list[str], context: Any) -> None:  # noqa: ANN401 - gRPC's
        await super().check(list(Counter(ids)), context)


@breaks("refuses-unhealthy")
class _AcceptsUnhealthy(ModelPlugin):
    async def check(self, ids: list[str], context: Any) -> None:  # noqa: ANN401 - gRPC's
        await super().check([name for name in ids if name != "d2"] or ["d0"], context)


# What a container gets.


class _Giving(ModelPlugin):
    """A plugin that gives a container something else."""

    wrong = wire.ContainerAllocateResponse()

    def given(self, entry: wire.ContainerAllocateRequest) -> wire.ContainerAllocateResponse:
        del entry
        return self.wrong


@breaks("device-paths")
class _RelativeDevice(_Giving):
    wrong = wire.ContainerAllocateResponse(
        devices=[wire.DeviceSpec(container_path="/dev/model", host_path="dev/model", permissions="rw")]
    )


@breaks("device-permissions")
class _Executable(_Giving):
    wrong = wire.ContainerAllocateResponse(
        devices=[wire.DeviceSpec(container_path="/dev/model", host_path="/dev/model", permissions="rx")]
    )


@breaks("mount-paths")
class _RootMount(_Giving):
    wrong = wire.ContainerAllocateResponse(mounts=[wire.Mount(container_path="/", host_path="/opt/model")])


@breaks("variable-names")
class _OddVariable(_Giving):
    wrong = wire.ContainerAllocateResponse(envs={"MODEL=1": ""})


@breaks("cdi-names")
class _UnqualifiedName(_Giving):
    wrong = wire.ContainerAllocateResponse(cdi_devices=[wire.CDIDevice(name="d0")])


# What the options advertise: GetPreferredAllocation and PreStartContainer.


@breaks("options-implemented")
class _Advertised(ModelPlugin):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.on_prefer = refuse(grpc.StatusCode.UNIMPLEMENTED, "method not implemented")


@breaks("preference-answers")
class _NoPreference(ModelPlugin):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.on_prefer = refuse(grpc.StatusCode.NOT_FOUND, "no preference")


@breaks("preference-legal")
class _TooMany(ModelPlugin):
    async def prefer(self, request: wire.PreferredAllocationRequest, _: object) -> wire.PreferredAllocationResponse:
        request.container_requests[0].allocation_size += 1
        return await super().prefer(request, _)


@breaks("preference-quick")
class _SlowPreference(ModelPlugin):
    async def prefer(self, request: wire.PreferredAllocationRequest, _: object) -> wire.PreferredAllocationResponse:
        await asyncio.sleep(SLOW)
        return await super().prefer(request, _)


@breaks("prestart-answers")
class _NoStart(ModelPlugin):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.on_pre_start = refuse(grpc.StatusCode.INTERNAL, "not today")


@breaks("prestart-again")
class _OneStart(ModelPlugin):
    async def PreStartContainer(self, request: wire.PreStartContainerRequest, context: Any) -> Any:  # noqa: ANN401 - gRPC's
        if "PreStartContainer" in self.names():
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "started already")
        return await super().PreStartContainer(request, context)
