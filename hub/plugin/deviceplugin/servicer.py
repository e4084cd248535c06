"""The DevicePlugin service of one resource: responses come from memory, and every wait has a limit."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, TypeVar

import grpc.aio

from hub.api.device import Device
from hub.api.plugin import Plugin, RequestRejected, overrides
from hub.api.plugin import resets as has_reset
from hub.base.calls import Calls, at_most
from hub.base.failures import PluginError, PluginTimeout
from hub.base.log import get_logger
from hub.base.notifier import Notifier
from hub.base.statusfile import StatusFile
from hub.kubelet.services import add_service
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginServicer as Wire
from hub.kubelet.wire.v1beta1_pb2_grpc import add_DevicePluginServicer_to_server
from hub.model.plugin import Rejection
from hub.plugin.deviceplugin.errors import RpcError, first_of, short_id
from hub.plugin.deviceplugin.grpclog import keep_clients_out_of_log
from hub.plugin.deviceplugin.hints import record_allocation
from hub.plugin.deviceplugin.kubeletcalls import KubeletCalls
from hub.plugin.deviceplugin.messages import ListEncoder, encode_allocation
from hub.plugin.deviceplugin.server import Streams
from hub.plugin.devices.resource import ResourceDevices
from hub.plugin.devices.scan import MAX_DEVICES
from hub.plugin.devices.validation import wrong_answer
from hub.plugin.holders import Holders
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership
from hub.plugin.resets.service import ResetService
from hub.reset.result import Outcome

MAX_CONTAINERS = 64
"""Maximum number of containers in a request; the kubelet's requests are for one. A request for many more would keep the
event loop from serving other clients: if the plugin does not override the method, the request is answered without a
call to the plugin's code, and so without a pause."""

MAX_FAILURES = 3
"""How many allocations in a row must fail before the plugin is considered at fault; a series this long involves
several pods."""

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


class DevicePluginServicer(Wire):
    """Answers the kubelet for one resource.

    Args:
        plugin: Decides what a container gets.
        devices: The devices of the resource.
        resets: Resets devices before their container starts.
        holders: Refreshed when a container has got devices.
        ownership: The other hubs. If a newer one serves the resource, it sends the kubelet all changes, though the
            kubelet still listens here.
        metrics: Measures the calls.
        status: Written after a rejection.

    Attributes:
        messages: The device list as it is sent to the kubelet.
        rejection: The last container that did not get its devices, or was kept from starting.
        failing: Why the last allocations failed; empty unless all of the last few did.
        streams: The open streams, since the socket was bound.
        calls: The calls with which the kubelet allocates.
    """

    def __init__(
        self,
        plugin: Plugin,
        devices: ResourceDevices,
        *,
        resets: ResetService,
        holders: Holders,
        ownership: Ownership,
        metrics: ProcessMetrics,
        status: StatusFile,
    ) -> None:
        self.messages = ListEncoder(devices)
        self.rejection: Rejection | None = None
        self.failing = ""
        self.streams = Streams(Notifier())
        self.calls = KubeletCalls()
        self._plugin = plugin
        self._resource = devices.name
        self._devices = devices
        self._resets = resets
        self._holders = holders
        self._ownership = ownership
        self._metrics = metrics
        self._status = status
        self._calls = Calls()
        self._failures = 0
        self._logged = ""
        self._log = get_logger(resource=devices.name)

    def attach(self, server: grpc.aio.Server) -> None:
        """Add the service's methods to a server."""
        keep_clients_out_of_log()
        add_service(server, add_DevicePluginServicer_to_server, self)

    @property
    def options(self) -> wire.DevicePluginOptions:
        """What the kubelet may call in this plugin, which follows from what the plugin overrides."""
        return wire.DevicePluginOptions(
            pre_start_required=has_reset(self._plugin, self._resource),
            get_preferred_allocation_available=overrides(self._plugin, "prefer"),
        )

    async def GetDevicePluginOptions(self, _request: wire.Empty, _context: Context) -> wire.DevicePluginOptions:
        """Return what the kubelet may call."""
        with self._metrics.call("GetDevicePluginOptions"):
            return self.options

    async def ListAndWatch(self, _request: wire.Empty, _context: Context) -> AsyncIterator[wire.ListAndWatchResponse]:
        """Send the list of devices, now and on every change; the call is counted when it ends, like any other."""
        with self._metrics.call("ListAndWatch"), self.streams.track() as stream:
            # A kubelet that has just started knows the devices in use only from its checkpoint.
            self._devices.check_departing()
            while not stream.is_over:
                version = self._devices.list.version
                if not (stream.is_replaced or self._ownership.newer_of(self._resource)):
                    self._metrics.list_sent(self._resource)
                    self.streams.note_list()
                    yield self.messages.latest().message
                await stream.wait_for(self._devices.wait_beyond(version))

    async def GetPreferredAllocation(
        self, request: wire.PreferredAllocationRequest, context: Context
    ) -> wire.PreferredAllocationResponse:
        """Return the best devices for each container, or none: an error would fail the pod."""
        async with self.calls.call():
            with self._metrics.call("GetPreferredAllocation") as call:
                try:
                    self._require_few(request.container_requests)
                except RpcError as error:
                    call.code = error.code.name
                    await context.abort(error.code, str(error))
                answers = [await self._prefer(container) for container in request.container_requests]
        return wire.PreferredAllocationResponse(
            container_responses=[wire.ContainerPreferredAllocationResponse(deviceIDs=ids) for ids in answers]
        )

    async def Allocate(self, request: wire.AllocateRequest, context: Context) -> wire.AllocateResponse:
        """Return what each container gets for the devices that the kubelet chose."""
        async with self.calls.call():
            with self._metrics.call("Allocate") as call, self._devices.allocation():
                try:
                    self._require_few(request.container_requests)
                    responses = [await self._allocate(each.devices_ids) for each in request.container_requests]
                except RpcError as error:
                    call.code = error.code.name
                    self._log_once("allocation rejected", str(error))
                    self._note_rejection(str(error))
                    await context.abort(error.code, str(error))
        self._holders.refresh_soon()
        return wire.AllocateResponse(container_responses=responses)

    async def PreStartContainer(
        self, request: wire.PreStartContainerRequest, context: Context
    ) -> wire.PreStartContainerResponse:
        """Reset the devices. A container that restarts keeps its devices, healthy or not."""
        with self._metrics.call("PreStartContainer") as call:
            try:
                await self._reset(self._resolve_for_start(request.devices_ids))
            except RpcError as error:
                call.code = error.code.name
                self._note_rejection(str(error))
                await context.abort(error.code, str(error))
        return wire.PreStartContainerResponse()

    def _resolve_for_start(self, ids: Iterable[str]) -> list[Device]:
        """Return the devices of a starting container; log a failure, which nothing else logs."""
        try:
            return self._resolve(ids)
        except RpcError as error:
            self._log_once("prestart rejected", str(error))
            raise

    async def _reset(self, devices: Sequence[Device]) -> None:
        failed = await self._resets.reset_for_container(self._resource, devices)
        if failed:
            late = all(result.outcome is Outcome.TIMED_OUT for result in failed)
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.INTERNAL
            raise RpcError(code, self._resource, [result.message for result in failed])

    async def _allocate(self, ids: Sequence[str]) -> wire.ContainerAllocateResponse:
        devices = self._resolve(ids)
        self._require_healthy(devices)
        subject = f"{self._resource}: allocation of {first_of(ids)}"
        allocate, limit = self._plugin.allocate, self._plugin.allocate_timeout
        try:
            response = await self._call(allocate, lambda: self._respond(devices), limit)
        except PluginError as failure:
            if isinstance(failure.__cause__, RequestRejected):
                raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, f"{subject}: {failure}") from failure
            self._count_failure(str(failure))
            late = isinstance(failure, PluginTimeout)
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.INTERNAL
            raise RpcError(code, f"{subject}: {failure}") from failure
        self._failures = 0
        if self.failing:
            self.failing = ""
            self._status.mark_changed()
        self._log.debug("devices allocated", devices=list(ids))
        return response

    def _respond(self, devices: Sequence[Device]) -> wire.ContainerAllocateResponse:
        response = encode_allocation(self._plugin.allocate(devices))
        record_allocation(self._plugin, devices)
        return response

    def _count_failure(self, reason: str) -> None:
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self.failing = f"the last {self._failures} allocations failed: {reason}"

    def _require_few(self, containers: Sequence[object]) -> None:
        if len(containers) > MAX_CONTAINERS:
            asked = f"the request is for {len(containers)} containers, expected at most {MAX_CONTAINERS}"
            raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, f"{self._resource}: {asked}")

    def _resolve(self, ids: Iterable[str]) -> list[Device]:
        """Return the devices with these ids.

        Raises:
            RpcError: one is unknown or requested twice.
        """
        known = self._devices.list.devices
        devices: dict[str, Device] = {}
        for name in ids:
            subject = f"{self._resource}: device {short_id(name)}"
            if name not in known:
                raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, f"{subject} does not exist")
            if name in devices:
                raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, f"{subject} is requested twice")
            devices[name] = known[name]
        return list(devices.values())

    def _require_healthy(self, devices: Iterable[Device]) -> None:
        for device in devices:
            if reason := self._devices.list.health[device.id].reason:
                message = f"{self._resource}: device {short_id(device.id)} is not healthy: {reason}"
                raise RpcError(grpc.StatusCode.UNAVAILABLE, message)

    async def _prefer(self, request: wire.ContainerPreferredAllocationRequest) -> list[str]:
        if not overrides(self._plugin, "prefer"):
            return []
        known = self._devices.list.devices
        # Each id only once: a message can hold so many duplicates that they would occupy the plugin's code for hours.
        available = [known[name] for name in dict.fromkeys(request.available_deviceIDs) if name in known]
        required = [known[name] for name in dict.fromkeys(request.must_include_deviceIDs) if name in known]
        prefer, size = self._plugin.prefer, request.allocation_size
        try:
            ids = await self._call(prefer, lambda: _ids(prefer(available, required, size)), self._plugin.prefer_timeout)
        except PluginError as failure:
            return self._without_preference(str(failure))
        must, may = set(request.must_include_deviceIDs), {device.id for device in available}
        if ids and not (len(ids) == len(set(ids)) == size and must <= set(ids) <= may):
            return self._without_preference(
                f"the plugin prefers {first_of(ids)}, which is not a valid choice of {size}"
            )
        return ids

    def _without_preference(self, reason: str) -> list[str]:
        self._log_once("preference ignored", reason)
        return []

    async def _call(self, method: Callable[..., Any], function: Callable[[], T], limit: float) -> T:
        """Call plugin code that should return at once, but may hang.

        Raises:
            PluginTimeout: it did not return within the limit, in seconds.
            PluginError: it failed.
        """
        if not overrides(self._plugin, method.__name__):
            # Our own code: it does not hang, and does not justify the 0.15 ms that a thread costs.
            try:
                return function()
            except Exception as error:
                raise PluginError.of(error, method) from error
        return await self._calls.call(method, function, limit)

    def _note_rejection(self, reason: str) -> None:
        self.rejection = Rejection(reason, time.time(), 1 + (self.rejection.count if self.rejection else 0))
        self._status.mark_changed()

    def _log_once(self, event: str, reason: str) -> None:
        """Log why a request failed, and log repeats only at debug level: pods are retried in loops."""
        level = "debug" if reason == self._logged else "warning"
        self._logged = reason
        getattr(self._log, level)(event, reason=reason)


def _ids(preferred: object) -> list[str]:
    chosen = at_most(preferred, MAX_DEVICES, "devices") if isinstance(preferred, Iterable) else []
    ids = [device.id for device in chosen if isinstance(device, Device)]
    if not isinstance(preferred, Iterable) or len(ids) < len(chosen):
        raise wrong_answer(preferred, "a list of hub.Device: the available ones that it prefers")
    return ids
