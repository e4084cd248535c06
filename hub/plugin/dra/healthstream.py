"""The DRAResourceHealth service, through which the status of a pod shows the health of the devices that it uses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import grpc.aio

from hub.base.changecount import ChangeCounter
from hub.kubelet.wire import drahealth_pb2 as wire
from hub.plugin.dra.publication import DraDevices
from hub.plugin.health.record import HELD
from hub.plugin.kubeletapi import ApiParts
from hub.plugin.ownership import Role

SERVICES = ("v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth")
"""The names of the service in both versions of the API; the registration uses them, too."""

HEARTBEAT = 10.0
"""Seconds after which the list is sent again without a change."""

TIMEOUT = 60
"""Seconds after which the kubelet no longer knows the health of a device."""

MESSAGE_CHARACTERS = 1024
"""Maximum length of a message; the kubelet cuts off the rest."""


class HealthStream:
    """Sends the health of all devices: at once, after each change, and as a heartbeat.

    Args:
        devices: The devices.
        pool: Returns the name of the pool; empty while it is unknown.
        parts: The parts of the process.
        changed: Notified when a stream has opened or ended.

    Attributes:
        open: The number of open streams.
        opened: The number of streams so far.
    """

    def __init__(self, devices: DraDevices, pool: Callable[[], str], parts: ApiParts, changed: ChangeCounter) -> None:
        self.open = 0
        self.opened = 0
        self._devices = devices
        self._pool = pool
        self._ownership = parts.ownership
        self._metrics = parts.metrics
        self._changed = changed

    def attach(self, server: grpc.aio.Server) -> None:
        """Add the service to a server, in all versions of the API."""
        methods = {
            "NodeWatchResources": grpc.unary_stream_rpc_method_handler(
                self.watch,
                request_deserializer=wire.NodeWatchResourcesRequest.FromString,
                response_serializer=wire.NodeWatchResourcesResponse.SerializeToString,
            )
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods) for name in SERVICES])

    async def watch(
        self, _request: wire.NodeWatchResourcesRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[wire.NodeWatchResourcesResponse]:
        """Send the health of all devices."""
        self.open += 1
        self.opened += 1
        self._changed.bump()
        try:
            with self._metrics.call("NodeWatchResources"):
                while True:
                    seen = self._devices.changes.number
                    # A superseded process keeps its stream open: when the stream ends, the kubelet forgets what the
                    # newer process has sent.
                    if self._ownership.role is not Role.SUPERSEDED and (pool := self._pool()):
                        yield self.message(pool)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(HEARTBEAT):
                            await self._devices.changes.wait_beyond(seen)
        finally:
            self.open -= 1
            self._changed.bump()

    def message(self, pool: str) -> wire.NodeWatchResourcesResponse:
        """Return the health of all devices."""
        answer = wire.NodeWatchResourcesResponse()
        for each in self._devices.all():
            # A device is not faulty because another pod holds it: the status of the pod that uses it must not say so.
            is_faulty = bool(each.health.reason) and each.health.source != HELD
            health = wire.UNHEALTHY if is_faulty else wire.HEALTHY
            identifier = wire.DeviceIdentifier(pool_name=pool, device_name=each.name)
            answer.devices.add(
                device=identifier,
                health=health,
                health_check_timeout_seconds=TIMEOUT,
                message=each.health.reason[:MESSAGE_CHARACTERS] if is_faulty else "",
            )
        return answer
