"""The kubelet's registration service, and the plugins that registered."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

import grpc.aio

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire import v1beta1_pb2_grpc as rpc
from hub.testing.kubelet.client import PluginClient, PluginError
from hub.testing.kubelet.names import is_extended_resource_name

VERSION = "v1beta1"

_Result = TypeVar("_Result")


class Events(Protocol):
    """Who wants to know what plugins do."""

    def registered(self, request: wire.RegisterRequest, error: str) -> None:
        """A plugin was accepted, or refused with these words."""

    def connected(self, resource: str, client: PluginClient, options: wire.DevicePluginOptions) -> None:
        """A plugin answers for a resource."""

    def listed(self, resource: str, response: wire.ListAndWatchResponse) -> None:
        """A plugin sent a list."""

    def disconnected(self, resource: str) -> None:
        """The kubelet has let go of whoever answered for a resource."""


class RegistrationService(rpc.RegistrationServicer):
    """Accepts plugins, dials them back, and reads their lists until they end.

    Args:
        plugin_dir: Where their sockets are.
        dial_back_timeout: Seconds in which a plugin must accept a connection.
        events: Hears what they do.
        tells_sockets_apart: Whether the end of a plugin concerns no other one of the same resource.
    """

    def __init__(
        self, plugin_dir: Path, dial_back_timeout: float, events: Events, *, tells_sockets_apart: bool
    ) -> None:
        self._tells_sockets_apart = tells_sockets_apart
        self._plugin_dir = plugin_dir
        self._dial_back_timeout = dial_back_timeout
        self._events = events
        self._holders: dict[str, PluginClient] = {}
        self._clients: list[PluginClient] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def Register(
        self, request: wire.RegisterRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> wire.Empty:
        """Connect to the plugin, and answer when that is done."""
        registering = self._spawn(self._register(request))
        # Waiting does not end the work when the plugin gives up waiting: a kubelet goes on with it.
        await asyncio.wait([registering])
        if registering.cancelled():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the kubelet has ended")
        if error := registering.result():
            await context.abort(grpc.StatusCode.UNKNOWN, error)
        return wire.Empty()

    async def close(self) -> None:
        """Let go of every plugin at once, and take no new one."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:
            await client.close()
        for failure in ended:
            if isinstance(failure, Exception):
                raise failure

    async def _register(self, request: wire.RegisterRequest) -> str:
        """The kubelet's words of refusal, or none."""
        error = _objection(request)
        if not error:
            try:
                await self._connect(request.resource_name, request.endpoint)
            except PluginError as failure:
                error = str(failure)
        self._events.registered(request, error)
        return error

    async def _connect(self, resource: str, endpoint: str) -> None:
        """Make this plugin the holder of the resource's name.

        The name changes hands before the plugin has answered, and a plugin that does not answer leaves it with nobody,
        not with the one before.

        Raises:
            PluginError: the plugin did not answer.
        """
        client = PluginClient(f"{self._plugin_dir}/{endpoint}")
        self._clients.append(client)
        before = self._holders.get(resource)
        self._holders[resource] = client
        try:
            await client.dial(self._dial_back_timeout)
            options = await client.options()
        except PluginError:
            self._holders.pop(resource, None)
            if before is not None and self._tells_sockets_apart:
                self._holders[resource] = before
            await client.close()
            raise
        self._events.connected(resource, client, options)
        self._spawn(self._watch(resource, client))

    async def _watch(self, resource: str, client: PluginClient) -> None:
        """Read the plugin's lists; when they end, let go of whoever holds the name by then.

        This is the kubelet's trap: an old plugin's stream that ends after a new plugin has registered takes the new
        one down, and nothing tells the new one but the end of its own stream. Kubelets from 1.37 on let go of those
        with the same socket only.
        """
        async for response in client.lists():
            self._events.listed(resource, response)
        holder = self._holders.get(resource)
        if holder is None:
            return
        if self._tells_sockets_apart and holder.socket != client.socket:
            await client.close()
            return
        del self._holders[resource]
        self._events.disconnected(resource)
        await holder.close()

    def _spawn(self, work: Coroutine[Any, Any, _Result]) -> "asyncio.Task[_Result]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if self._closed:
            task.cancel()
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        # One that failed is kept, for close() to raise what it raised.
        if task.cancelled() or task.exception() is None:
            self._tasks.discard(task)


def _objection(request: wire.RegisterRequest) -> str:
    """What a kubelet has against the request itself, in its words."""
    if request.version != VERSION:
        wanted, supported = json.dumps(request.version), json.dumps([VERSION])
        return f"requested API version {wanted} is not supported by kubelet. Supported version is {supported}"
    if not is_extended_resource_name(request.resource_name):
        return f"the ResourceName {json.dumps(request.resource_name)} is invalid"
    return ""
