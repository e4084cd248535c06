"""A kubelet's connection to one instance of a driver (kubernetes, pkg/kubelet/cm/dra/plugin)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import grpc.aio
from google.protobuf.message import Message

from hub.kubelet.channel import CHANNEL_OPTIONS, unix_target
from hub.kubelet.wire import dra_pb2 as wire
from hub.kubelet.wire import drahealth_pb2 as health
from hub.testing.dra.model import DraError

T = TypeVar("T", bound=Message)

SERVICES = {
    "v1.DRAPlugin": "k8s.io.kubelet.pkg.apis.dra.v1",
    "v1beta1.DRAPlugin": "k8s.io.kubelet.pkg.apis.dra.v1beta1",
}
"""The package of the service on the wire, by the name that a driver gives."""

HEALTH_SERVICES = {"v1.DRAResourceHealth": "v1", "v1alpha1.DRAResourceHealth": "v1alpha1"}
"""The same for the health service."""

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.default_authority", "localhost"),
    # The delays of Go's gRPC.
    ("grpc.initial_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 120_000),
    *CHANNEL_OPTIONS,
)


class DriverConnection:
    """One registered endpoint of a driver, from its registration until it is closed.

    Args:
        driver: The driver's name.
        endpoint: The path of its service socket.
        versions: The services that it offers, the best first.
        timeout: Seconds for a call.
    """

    def __init__(self, driver: str, endpoint: str, versions: Sequence[str], timeout: float) -> None:
        self.driver = driver
        self.endpoint = endpoint
        self.versions = versions
        self.connected = False
        self._timeout = timeout
        self._package = SERVICES[chosen_service(driver, endpoint, versions)]
        self._channel = grpc.aio.insecure_channel(unix_target(endpoint), options=_OPTIONS)
        self._closed = False
        self._calls: set[grpc.aio.Call] = set()

    async def follow(self, changed: Callable[[], None]) -> None:
        """Keep the channel connected until cancelled, and call `changed` whenever it connects or disconnects."""
        while not self._closed:
            state = self._channel.get_state(try_to_connect=True)
            connected = state is grpc.ChannelConnectivity.READY
            if connected != self.connected:
                self.connected = connected
                changed()
            await self._channel.wait_for_state_change(state)

    async def prepare(self, claims: Sequence[wire.Claim]) -> wire.NodePrepareResourcesResponse:
        """Have the driver prepare claims.

        Raises:
            DraError: the call failed.
        """
        request = wire.NodePrepareResourcesRequest(claims=claims)
        return await self._call("NodePrepareResources", request, wire.NodePrepareResourcesResponse)

    async def unprepare(self, claims: Sequence[wire.Claim]) -> wire.NodeUnprepareResourcesResponse:
        """Have the driver unprepare claims.

        Raises:
            DraError: the call failed.
        """
        request = wire.NodeUnprepareResourcesRequest(claims=claims)
        return await self._call("NodeUnprepareResources", request, wire.NodeUnprepareResourcesResponse)

    async def health(self, package: str) -> AsyncIterator[health.NodeWatchResourcesResponse]:
        """Yield the driver's reports of health until the stream ends.

        Raises:
            grpc.aio.AioRpcError: it ends with an error.
        """
        method = self._channel.unary_stream(
            f"/{package}.DRAResourceHealth/NodeWatchResources",
            request_serializer=health.NodeWatchResourcesRequest.SerializeToString,
            response_deserializer=health.NodeWatchResourcesResponse.FromString,
        )
        call = method(health.NodeWatchResourcesRequest())
        self._calls.add(call)
        try:
            async for response in call:
                yield response
        finally:
            self._calls.discard(call)
            call.cancel()

    async def close(self) -> None:
        """Close the connection and cancel all its calls."""
        self._closed = True
        for call in tuple(self._calls):
            call.cancel()
        await self._channel.close(grace=None)

    async def _call(self, name: str, request: Message, response: type[T]) -> T:
        method = self._channel.unary_unary(
            f"/{self._package}.DRAPlugin/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        call: grpc.aio.UnaryUnaryCall[Message, T] = method(request, timeout=self._timeout)
        self._calls.add(call)
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise DraError(f"{name}: rpc error: code = {_go_name(error.code())} desc = {error.details()}") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task and task.cancelling()):
                raise
            raise DraError(
                f"{name}: rpc error: code = Canceled desc = grpc: the client connection is closing"
            ) from None
        finally:
            self._calls.discard(call)


def chosen_service(driver: str, endpoint: str, versions: Sequence[str]) -> str:
    """Return the first service of a driver that a kubelet can call.

    Raises:
        DraError: there is none.
    """
    where = f"invalid supported gRPC versions of DRA driver plugin {driver} at endpoint {endpoint}"
    if not versions:
        raise DraError(f"{where}: empty list of supported gRPC services (aka supported versions)")
    for version in versions:
        if version in SERVICES:
            return version
    offered, known = _go_list(versions), _go_list(list(SERVICES))
    raise DraError(
        f"{where}: none of services supported by the plugin ({offered}) are supported by the kubelet ({known})"
    )


def _go_list(words: Sequence[str]) -> str:
    return f"[{' '.join(json.dumps(word) for word in words)}]"


def _go_name(code: grpc.StatusCode) -> str:
    return "Canceled" if code is grpc.StatusCode.CANCELLED else code.name.title().replace("_", "")
