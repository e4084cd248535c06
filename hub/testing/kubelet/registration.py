"""The kubelet's registration service, and the plugins that registered."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

import grpc.aio

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire import v1beta1_pb2_grpc as rpc
from hub.testing.held import HeldDirectory
from hub.testing.kubelet.client import PluginClient, PluginError
from hub.testing.kubelet.clients import Clients
from hub.testing.kubelet.names import is_extended_resource_name

VERSION = "v1beta1"

_Result = TypeVar("_Result")


class Events(Protocol):
    """Receives what plugins do."""

    def registered(self, request: wire.RegisterRequest, error: str) -> None:
        """Handle a registration that was accepted, or rejected with an error."""

    def connected(self, resource: str, client: PluginClient, options: wire.DevicePluginOptions) -> None:
        """Handle a new plugin of a resource.

        Raises:
            PluginError: it is connected already.
        """

    def listed(self, resource: str, response: wire.ListAndWatchResponse) -> None:
        """Handle a list from a plugin."""

    def disconnected(self, resource: str, client: PluginClient) -> None:
        """Handle the end of a plugin of a resource."""


class RegistrationService(rpc.RegistrationServicer):
    """Accepts plugins, connects to them, and reads their lists until they end.

    Args:
        plugin_dir: Where the plugins' sockets are.
        dial_back_timeout: Seconds within which a plugin must accept a connection.
        events: Receives what plugins do.
        table: Its connections.
    """

    def __init__(self, plugin_dir: HeldDirectory, dial_back_timeout: float, events: Events, table: Clients) -> None:
        self._plugin_dir = plugin_dir
        self._dial_back_timeout = dial_back_timeout
        self._events = events
        self._table = table
        self._clients: set[PluginClient] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def Register(
        self, request: wire.RegisterRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> wire.Empty:
        """Connect to the plugin before returning. Since 1.35, a plugin that cancels the call is not registered."""
        client = PluginClient(
            f"{self._plugin_dir.path}/{request.endpoint}",
            Path(f"{self._plugin_dir.descriptor_path}/{request.endpoint}"),
        )
        registering = self._spawn(self._register(request, client))
        try:
            await asyncio.wait([registering])
        except asyncio.CancelledError:
            client.give_up()
            raise
        if registering.cancelled():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the kubelet has stopped")
        if error := registering.result():
            await context.abort(grpc.StatusCode.UNKNOWN, error)
        return wire.Empty()

    async def close(self) -> None:
        """Disconnect all plugins, and accept no new ones."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in tuple(self._clients):
            await client.close()
        for failure in ended:
            if isinstance(failure, Exception):
                raise failure

    async def _register(self, request: wire.RegisterRequest, client: PluginClient) -> str:
        """Register a plugin; return the kubelet's error, or an empty string."""
        error = _request_error(request) or self._endpoint_error(request.endpoint)
        if not error:
            try:
                await self._connect(request.resource_name, client)
            except PluginError as failure:
                error = str(failure)
        self._events.registered(request, error)
        return error

    def _endpoint_error(self, endpoint: str) -> str:
        """Return why an endpoint is not dialled; empty if it is.

        It could be the socket of another program, which this process can reach but the plugin cannot. A real kubelet
        dials it.
        """
        if endpoint == ".." or endpoint != Path(endpoint).name or "\0" in endpoint:
            return f"the endpoint {json.dumps(endpoint)} is not the name of a file in {self._plugin_dir.path}"
        if (self._plugin_dir.descriptor_path / endpoint).is_symlink():
            return f"the endpoint {json.dumps(endpoint)} is a link"
        return ""

    async def _connect(self, resource: str, client: PluginClient) -> None:
        """Make this plugin the one that serves the resource.

        The table of connections changes before the new plugin has answered.

        Raises:
            PluginError: the plugin did not answer, or is registered already.
        """
        self._clients.add(client)
        self._table.add(resource, client)
        try:
            await client.dial(self._dial_back_timeout)
            self._events.connected(resource, client, await client.options())
        except PluginError:
            self._table.failed(resource, client)
            await client.close()
            self._clients.discard(client)
            raise
        self._spawn(self._watch(resource, client))

    async def _watch(self, resource: str, client: PluginClient) -> None:
        """Read the plugin's lists; when they end, disconnect the plugin that the table names.

        This is a kubelet pitfall: before 1.37, if an old plugin's stream ends after a new plugin has registered, the
        new plugin is disconnected, and notices this only when its own stream ends.
        """
        async for response in client.lists():
            self._events.listed(resource, response)
        if ended := self._table.ended(resource, client):
            self._events.disconnected(resource, ended)
            if ended.dialled:
                await ended.close()
                self._clients.discard(ended)

    def _spawn(self, work: Coroutine[Any, Any, _Result]) -> "asyncio.Task[_Result]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if self._closed:
            task.cancel()
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        # A failed task is kept, so that close() can raise its exception.
        if task.cancelled() or task.exception() is None:
            self._tasks.discard(task)


def _request_error(request: wire.RegisterRequest) -> str:
    """Return the kubelet's error about an invalid request; empty if it is valid."""
    if request.version != VERSION:
        wanted, supported = json.dumps(request.version), json.dumps([VERSION])
        return f"requested API version {wanted} is not supported by kubelet. Supported version is {supported}"
    if not is_extended_resource_name(request.resource_name):
        return f"the ResourceName {json.dumps(request.resource_name)} is invalid"
    return ""
