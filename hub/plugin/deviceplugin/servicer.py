"""The DevicePlugin service of one resource: answered from memory, and nothing is waited for without limit."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from os import fspath
from typing import Any, TypeVar

import grpc.aio
from google.protobuf.message import DecodeError

from hub.api.device import Allocation, Device
from hub.api.plugin import Plugin, overrides, resets
from hub.base.asking import Calls
from hub.base.failures import PluginError, PluginTimeout
from hub.base.log import get_logger
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginServicer as Wire
from hub.kubelet.wire.v1beta1_pb2_grpc import add_DevicePluginServicer_to_server
from hub.plugin.deviceplugin.errors import RpcError
from hub.plugin.deviceplugin.server import Streams
from hub.plugin.devices.devicelist import DeviceList
from hub.plugin.devices.validation import ID_CHARACTERS, validate_allocation, wrong_answer
from hub.plugin.metrics.process import ProcessMetrics
from hub.reset.result import Outcome, ResetResult

_LISTED = 16

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


Prepare = Callable[[str, Sequence[Device]], Awaitable[Sequence[ResetResult]]]
"""Resets the devices of a resource for a container that is about to start, and returns the failures."""


class DevicePluginServicer(Wire):
    """Answers the kubelet for one resource.

    Args:
        plugin: Who decides what a container gets.
        resource: The resource's name.
        inventory: What is advertised.
        prepare: Makes devices ready before their container starts.
        allocated: Called when a container was given devices.
        refused: Called when one was not, or was kept from starting, with the reason.
        muted: Whether the kubelet hears of changes from somebody else; it still listens here too.
        meter: Measures the calls.
    """

    def __init__(
        self,
        plugin: Plugin,
        resource: str,
        inventory: DeviceList,
        prepare: Prepare,
        *,
        allocated: Callable[[], None],
        refused: Callable[[str], None],
        muted: Callable[[], bool],
        meter: ProcessMetrics,
    ) -> None:
        self._plugin = plugin
        self._resource = resource
        self._inventory = inventory
        self._prepare = prepare
        self._allocated = allocated
        self._refused = refused
        self._muted = muted
        self._meter = meter
        self._asker = Calls()
        self._complaint = ""
        self._log = get_logger(resource=resource)
        self.streams = Streams(lambda: None)

    def attach(self, server: grpc.aio.Server) -> None:
        """Add the service's methods to a server."""
        logging.getLogger("grpc._cython.cygrpc").addFilter(_is_ours_to_tell)
        add_DevicePluginServicer_to_server(self, server)

    @property
    def options(self) -> wire.DevicePluginOptions:
        """What the kubelet may ask of this plugin, which follows from what the plugin overrides."""
        return wire.DevicePluginOptions(
            pre_start_required=resets(self._plugin, self._resource),
            get_preferred_allocation_available=overrides(self._plugin, "prefer"),
        )

    async def GetDevicePluginOptions(self, _request: wire.Empty, _context: Context) -> wire.DevicePluginOptions:
        """Say what the kubelet may ask."""
        with self._meter.call("GetDevicePluginOptions"):
            return self.options

    async def ListAndWatch(self, _request: wire.Empty, _context: Context) -> AsyncIterator[wire.ListAndWatchResponse]:
        """Send the list of devices, now and at each change; counted when it ends, as any other call."""
        with self._meter.call("ListAndWatch"), self.streams.track():
            while True:
                version = self._inventory.version
                if not self._muted():
                    self._meter.list_sent(self._resource)
                    yield self._inventory.snapshot.message
                await self._inventory.wait_beyond(version)

    async def GetPreferredAllocation(
        self, request: wire.PreferredAllocationRequest, _context: Context
    ) -> wire.PreferredAllocationResponse:
        """Name the best devices for each container; an empty answer where there is none, for an error fails the pod."""
        with self._meter.call("GetPreferredAllocation"):
            answers = [await self._prefer(container) for container in request.container_requests]
        return wire.PreferredAllocationResponse(
            container_responses=[wire.ContainerPreferredAllocationResponse(deviceIDs=ids) for ids in answers]
        )

    async def Allocate(self, request: wire.AllocateRequest, context: Context) -> wire.AllocateResponse:
        """Say what each container gets for the devices that the kubelet chose."""
        with self._meter.call("Allocate") as call:
            try:
                responses = [await self._allocate(container.devices_ids) for container in request.container_requests]
            except RpcError as refusal:
                call.code = refusal.code.name
                self._log_once("allocation refused", str(refusal))
                self._refused(str(refusal))
                await context.abort(refusal.code, str(refusal))
        self._allocated()
        return wire.AllocateResponse(container_responses=responses)

    async def PreStartContainer(
        self, request: wire.PreStartContainerRequest, context: Context
    ) -> wire.PreStartContainerResponse:
        """Make the devices ready. A container that starts again holds its devices, healthy or not."""
        with self._meter.call("PreStartContainer") as call:
            try:
                await self._reset(self._resolve_started(request.devices_ids))
            except RpcError as refusal:
                call.code = refusal.code.name
                self._refused(str(refusal))
                await context.abort(refusal.code, str(refusal))
        return wire.PreStartContainerResponse()

    async def _reset(self, devices: Sequence[Device]) -> None:
        failed = await self._prepare(self._resource, devices)
        if failed:
            late = all(result.outcome is Outcome.TIMED_OUT for result in failed)
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.INTERNAL
            raise RpcError(code, self._resource, [result.message for result in failed])

    def _resolve_started(self, ids: Iterable[str]) -> list[Device]:
        """The devices of a container that starts; what else may go wrong with them, who prepares them logs."""
        try:
            return self._resolve(ids)
        except RpcError as refusal:
            self._log_once("container kept from starting", str(refusal))
            raise

    async def _allocate(self, ids: Sequence[str]) -> wire.ContainerAllocateResponse:
        devices = self._resolve(ids)
        self._check_health(devices)
        named = f"{self._resource}: allocation of {_listed(ids)}"
        allocate, limit = self._plugin.allocate, self._plugin.allocate_timeout
        try:
            response = await self._ask(allocate, lambda: _encode(allocate(devices)), limit)
        except PluginTimeout as timeout:
            raise RpcError(grpc.StatusCode.DEADLINE_EXCEEDED, f"{named}: {timeout}") from None
        except PluginError as failure:
            raise RpcError(grpc.StatusCode.INTERNAL, f"{named}: {failure}") from failure
        self._log.debug("allocated", devices=list(ids))
        return response

    def _resolve(self, ids: Iterable[str]) -> list[Device]:
        """The devices with these ids.

        Raises:
            Refusal: one is unknown or asked for twice.
        """
        known = self._inventory.snapshot.devices
        devices: dict[str, Device] = {}
        for name in ids:
            called = f"{self._resource}: device {_short(name)}"
            if name not in known:
                raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, f"{called} does not exist")
            if name in devices:
                raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, f"{called} is asked for twice")
            devices[name] = known[name]
        return list(devices.values())

    def _check_health(self, devices: Iterable[Device]) -> None:
        for device in devices:
            if device.unhealthy:
                message = f"{self._resource}: device {_short(device.id)} is not healthy: {device.unhealthy}"
                raise RpcError(grpc.StatusCode.UNAVAILABLE, message)

    async def _prefer(self, request: wire.ContainerPreferredAllocationRequest) -> list[str]:
        if not overrides(self._plugin, "prefer"):
            return []
        known = self._inventory.snapshot.devices
        available = [known[name] for name in request.available_deviceIDs if name in known]
        required = [known[name] for name in request.must_include_deviceIDs if name in known]
        prefer, size = self._plugin.prefer, request.allocation_size

        def question() -> list[str]:
            return _ids(prefer(available, required, size))

        try:
            ids = await self._ask(prefer, question, self._plugin.prefer_timeout)
        except PluginError as failure:
            return self._no_preference(str(failure))
        must, may = set(request.must_include_deviceIDs), {device.id for device in available}
        if ids and not (len(ids) == len(set(ids)) == size and must <= set(ids) <= may):
            return self._no_preference(f"the plugin prefers {_listed(ids)}, which is no choice of {size}")
        return ids

    def _no_preference(self, reason: str) -> list[str]:
        self._log_once("preference left to the kubelet", reason)
        return []

    async def _ask(self, method: Callable[..., Any], question: Callable[[], T], limit: float) -> T:
        """The answer of plugin code that is expected at once and may hang all the same.

        Raises:
            PluginTimeout: there was none within the limit, in seconds.
            PluginError: it failed.
        """
        if not overrides(self._plugin, method.__name__):
            # Our own code: it does not hang, and is not worth the 0.15 ms that a thread takes there and back.
            try:
                return question()
            except Exception as error:
                raise PluginError.of(error, method) from error
        return await self._asker.call(method, question, limit)

    def _log_once(self, event: str, reason: str) -> None:
        """Log what went wrong with a request, but not again and again: pods are tried in loops."""
        level = "debug" if reason == self._complaint else "warning"
        self._complaint = reason
        getattr(self._log, level)(event, reason=reason)


def _is_ours_to_tell(record: logging.LogRecord) -> bool:
    """Not a message that cannot be decoded: its sender is told, and would fill our log with it."""
    return not (record.exc_info and isinstance(record.exc_info[1], DecodeError))


def _short(name: str) -> str:
    """An id as a text of bounded length: it is the caller's."""
    return repr(name if len(name) <= ID_CHARACTERS else f"{name[:ID_CHARACTERS]}...")


def _listed(ids: Sequence[str]) -> str:
    """The first few of many ids: an error travels in a header, and those are small."""
    more = len(ids) - _LISTED
    return ", ".join(_short(name) for name in ids[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _ids(preferred: object) -> list[str]:
    chosen = list(preferred) if isinstance(preferred, Iterable) else []
    ids = [device.id for device in chosen if isinstance(device, Device)]
    if not isinstance(preferred, Iterable) or len(ids) < len(chosen):
        raise wrong_answer(preferred, "a list of hub.Device: the available ones that it prefers")
    return ids


def _encode(allocation: object) -> wire.ContainerAllocateResponse:
    if not isinstance(allocation, Allocation):
        raise wrong_answer(allocation, "a hub.Allocation: return Allocation(nodes=[...], env={...})")
    if problem := validate_allocation(allocation):
        raise TypeError(problem)
    return wire.ContainerAllocateResponse(
        envs=dict(allocation.env),
        mounts=[
            wire.Mount(
                container_path=fspath(mount.container_path),
                host_path=fspath(mount.host_path),
                read_only=mount.read_only,
            )
            for mount in allocation.mounts
        ],
        devices=[
            wire.DeviceSpec(
                container_path=fspath(node.container_path),
                host_path=fspath(node.host_path),
                permissions=node.permissions,
            )
            for node in allocation.nodes
        ],
        annotations=dict(allocation.annotations),
        cdi_devices=[wire.CDIDevice(name=name) for name in allocation.cdi],
    )
