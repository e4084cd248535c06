"""A plugin that follows every rule, and the list of those that break one: each differs from it in one point."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc.aio

from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import KubeletIdentity, kubelet_identity
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.plugin import STUB
from hub.testing.scripted import ScriptedPlugin, device

POLL = 0.01

SLOW = 0.5
"""Seconds that count as slow in the tests."""

CHANGE = "change"
"""The name of the file whose appearance in the directory makes the plugin change its list."""

GIVEN = wire.ContainerAllocateResponse(
    envs={"MODEL": "1"},
    mounts=[wire.Mount(container_path="/usr/lib/model", host_path="/opt/model", read_only=True)],
    devices=[wire.DeviceSpec(container_path="/dev/model", host_path="/dev/null", permissions="rw")],
    cdi_devices=[wire.CDIDevice(name="example.com/model=d0")],
)


class ModelPlugin(ScriptedPlugin):
    """A plugin that serves, and registers with each kubelet.

    Args:
        directory: The kubelet's plugin directory.
    """

    resource = STUB
    name = "model.sock"
    version = "v1beta1"

    def __init__(self, directory: Path) -> None:
        listed = [device("d0"), device("d1", numa=[0]), device("d2", healthy=False)]
        super().__init__(directory, self.resource, self.name, listed, pre_start=True, prefers=True)
        self.on_allocate = self.allocate
        self.on_prefer = self.prefer
        self._inode = 0

    async def run(self) -> None:
        """Serve until the task is cancelled."""
        try:
            while True:
                kubelet = await self.next_kubelet()
                # By now, the kubelet or its directory may be gone: the next iteration detects that.
                with suppress(grpc.aio.AioRpcError, RuntimeError, OSError):
                    await self.renew()
                    await self.announce()
                while not self.is_over(kubelet):
                    self.change_if_asked()
                    await asyncio.sleep(POLL)
        finally:
            await self.close()

    async def next_kubelet(self) -> KubeletIdentity:
        """Wait for a kubelet."""
        while (kubelet := kubelet_identity(self.directory / KUBELET_SOCKET)) is None:  # noqa: ASYNC110 - polls
            await asyncio.sleep(POLL)
        return kubelet

    async def renew(self) -> None:
        """Serve on a new socket."""
        await self.close()
        await self.serve()
        self._inode = (self.directory / self.socket).stat().st_ino

    async def announce(self) -> None:
        """Register."""
        await self.register(self.version)

    def is_over(self, kubelet: KubeletIdentity) -> bool:
        """Return whether the plugin has to register again."""
        return kubelet_identity(self.directory / KUBELET_SOCKET) not in (kubelet, None) or self.is_unreachable()

    def is_unreachable(self) -> bool:
        """Return whether the plugin's socket is gone, or has been replaced."""
        path = self.directory / self.socket
        return not path.exists() or path.stat().st_ino != self._inode

    def change_if_asked(self) -> None:
        """Change the list if the file is there."""
        path = self.directory / CHANGE
        if path.exists():
            path.unlink()
            self.send([*self.listed, device(f"d{len(self.listed)}")])

    async def allocate(self, request: wire.AllocateRequest, context: Any) -> wire.AllocateResponse:  # noqa: ANN401 - gRPC's
        """Check the request, and answer for each container in the same way."""
        for entry in request.container_requests:
            await self.check(entry.devices_ids, context)
        return wire.AllocateResponse(container_responses=[self.given(entry) for entry in request.container_requests])

    async def check(self, ids: list[str], context: Any) -> None:  # noqa: ANN401 - gRPC's
        """Refuse what cannot be allocated."""
        healthy = {each.ID for each in self.listed if each.health == "Healthy"}
        if set(ids) - healthy or max(Counter(ids).values()) > 1:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")

    def given(self, entry: wire.ContainerAllocateRequest) -> wire.ContainerAllocateResponse:
        """Return what a container gets."""
        del entry
        return GIVEN

    async def prefer(self, request: wire.PreferredAllocationRequest, _: object) -> wire.PreferredAllocationResponse:
        """Prefer the required devices, then the first ones."""
        (entry,) = request.container_requests
        ids = dict.fromkeys([*entry.must_include_deviceIDs, *entry.available_deviceIDs])
        response = wire.ContainerPreferredAllocationResponse(deviceIDs=list(ids)[: entry.allocation_size])
        return wire.PreferredAllocationResponse(container_responses=[response])


BROKEN: dict[str, type[ModelPlugin]] = {}
"""The broken plugins by the rule that they break."""


def breaks(name: str) -> Callable[[type[ModelPlugin]], type[ModelPlugin]]:
    """Add the decorated class to the broken plugins."""

    def add(broken: type[ModelPlugin]) -> type[ModelPlugin]:
        BROKEN[name] = broken
        return broken

    return add
