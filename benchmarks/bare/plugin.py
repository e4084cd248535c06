"""A minimal device plugin: `python -m benchmarks.bare.plugin RESOURCE PLUGIN_DIR`.

It answers each call with a message that it built when it started, registers when it starts and at each SIGHUP, and
exits when standard input ends.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import msgspec

from benchmarks.bare.libraries import PLUGIN, load
from benchmarks.bare.resource import BareResource
from hub.base.paths import KUBELET_SOCKET
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import (
    DevicePluginServicer,
    RegistrationStub,
    add_DevicePluginServicer_to_server,
)

RETRY = 0.001
"""Seconds until the next attempt to register: a kubelet's socket exists a moment before the kubelet listens."""

Context = grpc.aio.ServicerContext[Any, Any]


class BareServicer(DevicePluginServicer):
    """Answers each call with a message that was built in advance.

    Args:
        resource: The resource.
    """

    def __init__(self, resource: BareResource) -> None:
        devices = [wire.Device(ID=name, health="Healthy") for name in resource.ids]
        chosen = wire.ContainerPreferredAllocationResponse(deviceIDs=resource.ids[: resource.prefer])
        node = wire.DeviceSpec(container_path="/dev/null", host_path="/dev/null", permissions="rw")
        self._options = wire.DevicePluginOptions(get_preferred_allocation_available=resource.prefer > 0)
        self._list = wire.ListAndWatchResponse(devices=devices)
        self._preference = wire.PreferredAllocationResponse(container_responses=[chosen])
        self._allocation = wire.AllocateResponse(container_responses=[wire.ContainerAllocateResponse(devices=[node])])

    async def GetDevicePluginOptions(self, _request: wire.Empty, _context: Context) -> wire.DevicePluginOptions:
        """Return the options."""
        return self._options

    async def ListAndWatch(self, _request: wire.Empty, _context: Context) -> AsyncIterator[wire.ListAndWatchResponse]:
        """Send the list, which never changes."""
        yield self._list
        await asyncio.Event().wait()

    async def GetPreferredAllocation(
        self, _request: wire.PreferredAllocationRequest, _context: Context
    ) -> wire.PreferredAllocationResponse:
        """Return the first devices."""
        return self._preference

    async def Allocate(self, _request: wire.AllocateRequest, _context: Context) -> wire.AllocateResponse:
        """Return a device node."""
        return self._allocation

    async def PreStartContainer(
        self, _request: wire.PreStartContainerRequest, _context: Context
    ) -> wire.PreStartContainerResponse:
        """Do nothing; the options do not request this call."""
        return wire.PreStartContainerResponse()


async def serve(resource: BareResource, plugin_dir: Path) -> None:
    """Serve the resource, on a new socket after each SIGHUP."""
    servicer = BareServicer(resource)
    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, started.set)
    loop.add_reader(sys.stdin.fileno(), os._exit, 0)
    while True:
        started.clear()
        server = await _register(resource, servicer, plugin_dir)
        await started.wait()
        await server.stop(grace=None)


async def _register(resource: BareResource, servicer: BareServicer, plugin_dir: Path) -> grpc.aio.Server:
    server = grpc.aio.server()
    add_DevicePluginServicer_to_server(servicer, server)
    socket = plugin_dir / f"bare-{resource.name.replace('/', '_')}.sock"
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    request = wire.RegisterRequest(version="v1beta1", endpoint=socket.name, resource_name=resource.name)
    while True:
        # A separate channel: a shared one would wait between its attempts to connect.
        settings = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"unix:{plugin_dir / KUBELET_SOCKET}", options=settings) as channel:
            try:
                await RegistrationStub(channel).Register(request)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(RETRY)
            else:
                return server


def main(argument: str, plugin_dir: str) -> None:
    """Serve the resource until standard input ends."""
    resource = msgspec.json.decode(argument, type=BareResource)
    load((*PLUGIN, *resource.libraries))
    asyncio.run(serve(resource, Path(plugin_dir)))


if __name__ == "__main__":
    main(*sys.argv[1:])
