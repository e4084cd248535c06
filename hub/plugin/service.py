"""The DevicePlugin service of one resource: answered from memory, and nothing is waited for without limit."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from os import fspath
from typing import Any, TypeVar

import grpc.aio

from hub.kubelet import v1beta1_pb2 as wire
from hub.kubelet.v1beta1_pb2_grpc import DevicePluginServicer, add_DevicePluginServicer_to_server
from hub.log import get_logger
from hub.plugin.contract import Allocation, Device, Plugin, overrides
from hub.plugin.endpoint import Streams
from hub.plugin.inventory import Inventory
from hub.plugin.threads import in_thread

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


class Refusal(Exception):
    """A request that is answered with an error; the text reaches the pod's events."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class DevicePluginService(DevicePluginServicer):
    """Answers the kubelet for one resource.

    Args:
        plugin: Who decides what a container gets.
        resource: The resource's name.
        inventory: What is advertised.
    """

    def __init__(self, plugin: Plugin, resource: str, inventory: Inventory) -> None:
        self._plugin = plugin
        self._resource = resource
        self._inventory = inventory
        self._log = get_logger(resource=resource)
        self.streams = Streams(lambda: None)

    def attach(self, server: grpc.aio.Server) -> None:
        """Add the service's methods to a server."""
        add_DevicePluginServicer_to_server(self, server)

    @property
    def options(self) -> wire.DevicePluginOptions:
        """What the kubelet may ask of this plugin, which follows from what the plugin overrides."""
        return wire.DevicePluginOptions(
            pre_start_required=bool(self._plugin.reset),
            get_preferred_allocation_available=overrides(self._plugin, "prefer"),
        )

    async def GetDevicePluginOptions(self, _request: wire.Empty, _context: Context) -> wire.DevicePluginOptions:
        """Say what the kubelet may ask."""
        return self.options

    async def ListAndWatch(self, _request: wire.Empty, _context: Context) -> AsyncIterator[wire.ListAndWatchResponse]:
        """Send the list of devices, now and at each change."""
        with self.streams.track():
            while True:
                version = self._inventory.version
                yield self._inventory.snapshot.message
                await self._inventory.wait_beyond(version)

    async def GetPreferredAllocation(
        self, request: wire.PreferredAllocationRequest, _context: Context
    ) -> wire.PreferredAllocationResponse:
        """Name the best devices for each container; an empty answer where there is none, for an error fails the pod."""
        answers = [await self._prefer(container) for container in request.container_requests]
        return wire.PreferredAllocationResponse(
            container_responses=[wire.ContainerPreferredAllocationResponse(deviceIDs=ids) for ids in answers]
        )

    async def Allocate(self, request: wire.AllocateRequest, context: Context) -> wire.AllocateResponse:
        """Say what each container gets for the devices that the kubelet chose."""
        try:
            responses = [await self._allocate(container.devices_ids) for container in request.container_requests]
        except Refusal as refusal:
            self._log.warning("allocation refused", reason=str(refusal))
            await context.abort(refusal.code, str(refusal))
        return wire.AllocateResponse(container_responses=responses)

    async def PreStartContainer(
        self, _request: wire.PreStartContainerRequest, _context: Context
    ) -> wire.PreStartContainerResponse:
        """Nothing has to be done before a container starts."""
        return wire.PreStartContainerResponse()

    async def _allocate(self, ids: Sequence[str]) -> wire.ContainerAllocateResponse:
        devices = self._resolve(ids)
        named = f"{self._resource}: allocation of {', '.join(ids)}"
        limit = self._plugin.allocate_timeout
        try:
            allocation = await self._ask("allocate", lambda: self._plugin.allocate(devices), limit)
            response = _encode(allocation)
        except TimeoutError:
            message = f"{named}: the plugin has not answered within {limit:g} s"
            raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, message) from None
        except Exception as error:
            raise Refusal(grpc.StatusCode.INTERNAL, f"{named}: {type(error).__name__}: {error}") from error
        self._log.debug("allocated", devices=list(ids))
        return response

    def _resolve(self, ids: Iterable[str]) -> list[Device]:
        """The devices with these ids.

        Raises:
            Refusal: one is unknown, asked for twice, or not healthy.
        """
        known = self._inventory.snapshot.devices
        devices: dict[str, Device] = {}
        for name in ids:
            if name not in known:
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"{self._resource}: there is no device {name!r}")
            if name in devices:
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"{self._resource}: device {name!r} asked for twice")
            if reason := known[name].unhealthy:
                raise Refusal(
                    grpc.StatusCode.UNAVAILABLE, f"{self._resource}: device {name!r} is not healthy: {reason}"
                )
            devices[name] = known[name]
        return list(devices.values())

    async def _prefer(self, request: wire.ContainerPreferredAllocationRequest) -> list[str]:
        known = self._inventory.snapshot.devices
        available = [known[name] for name in request.available_deviceIDs if name in known]
        required = [known[name] for name in request.must_include_deviceIDs if name in known]
        size = request.allocation_size
        if not overrides(self._plugin, "prefer"):
            return []
        try:
            chosen = await self._ask(
                "prefer", lambda: self._plugin.prefer(available, required, size), self._plugin.prefer_timeout
            )
            ids = [device.id for device in chosen]
        except Exception as error:  # noqa: BLE001 - foreign code, and an error would fail the pod
            self._log.warning("preference left to the kubelet", reason=f"{type(error).__name__}: {error}")
            return []
        if ids and (
            len(ids) != size or not set(request.must_include_deviceIDs) <= set(ids) <= {d.id for d in available}
        ):
            self._log.warning("preference left to the kubelet", reason=f"{ids} is no choice of {size}")
            return []
        return ids

    async def _ask(self, name: str, question: Callable[[], T], limit: float) -> T:
        """The answer of plugin code that is expected at once and may hang all the same.

        Raises:
            TimeoutError: there was none within the limit, in seconds.
        """
        if not overrides(self._plugin, name):
            return question()
        return await asyncio.wait_for(in_thread(name, question), limit)


def _encode(allocation: Allocation) -> wire.ContainerAllocateResponse:
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
