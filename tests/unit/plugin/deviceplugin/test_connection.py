"""A plugin's connection to a kubelet, with pods that are admitted one after another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.api.device import Device
from hub.api.host import Host
from hub.api.plugin import Plugin, Settings
from hub.api.runtime import Runtime
from hub.base.notifier import Notifier
from hub.base.paths import KUBELET_SOCKET
from hub.plugin.deviceplugin import connection as module
from hub.plugin.deviceplugin.connection import KubeletConnection
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.deviceplugin.servicer import DevicePluginServicer
from hub.plugin.holders import Holders
from hub.plugin.ownership import Ownership
from hub.plugin.resets.service import ResetService
from hub.testing.kubelet import AdmissionError, FakeKubelet
from hub.testing.kubelet.client import PluginClient
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.kubelet import BEFORE_AND_SINCE_1_37, node
from tests.unit.plugin.plugin_setup import STUB, Setup

ROUNDS = 3
"""Few rounds, because a kubelet before 1.37 keeps all connections, and a plugin accepts a hundred at a time."""


class _Admissions:
    """Pods that are admitted one after another, without a pause."""

    def __init__(self, kubelet: FakeKubelet) -> None:
        self.total = 0
        self.failures: list[str] = []
        self._kubelet = kubelet
        self._progress = asyncio.Event()

    async def run(self) -> None:
        """Admit and remove pods until cancelled."""
        while True:
            self.total += 1
            try:
                await self._kubelet.remove(await self._kubelet.admit(f"pod-{self.total}", {STUB: 1}))
            except AdmissionError as error:
                self.failures.append(str(error))
            self._progress.set()
            await asyncio.sleep(0)

    async def more(self) -> None:
        """Wait for a few more admissions."""
        wanted = self.total + 5
        async with asyncio.timeout(WAIT_SECONDS):
            while self.total < wanted:
                self._progress.clear()
                await self._progress.wait()


class Served:
    """A resource whose devices a plugin serves in this process."""

    def __init__(self, kubelet: FakeKubelet, plugin_dir: Path) -> None:
        it = Setup()
        it.scan(Device("a"), Device("b"))
        plugin, notifier, ownership = Plugin(Settings(), Host(), Runtime()), Notifier(), Ownership(None, "", plugin_dir)
        servicer = DevicePluginServicer(
            plugin,
            it.resource,
            resets=ResetService(plugin, it.store, it.inventory, it.metrics, it.status),
            holders=Holders(plugin_dir, it.inventory, it.status, it.history),
            ownership=ownership,
            metrics=it.metrics,
            status=it.status,
        )
        self.server = DevicePluginServer(plugin_dir / "stub.sock", servicer, notifier)
        self.connection = KubeletConnection(
            STUB,
            self.server,
            plugin_dir / KUBELET_SOCKET,
            servicer.options,
            calls=servicer.calls,
            notifier=notifier,
        )
        self.kubelet = kubelet
        self.admissions = _Admissions(kubelet)

    async def register(self) -> None:
        """Register, which opens one more stream."""
        kubelet = self.connection.kubelet()
        assert kubelet
        assert await self.connection.open(kubelet) is None

    async def end_surplus(self) -> bool:
        """Detach the kubelet, as in a handover, and end all streams but the last if there are many."""
        kubelet = self.connection.kubelet()
        assert kubelet
        async with self.server.decoy_socket() as decoy:
            assert await self.connection.register(kubelet, decoy)
        return await self.connection.end_surplus(kubelet)


@asynccontextmanager
async def served(*, distinguishes_sockets: bool) -> AsyncIterator[Served]:
    """Serve a resource, and register it."""
    async with node(distinguishes_sockets=distinguishes_sockets) as it:
        found = Served(it.kubelet, it.plugin_dir)
        await found.server.open()
        try:
            await found.register()
            await it.kubelet.wait_for(STUB, 2)
            yield found
        finally:
            await found.server.close()


@pytest.mark.fake_kubelet("a real one takes this long only on a busy node")
async def test_the_end_of_all_streams_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No device stays allocatable without a plugin, even if the kubelet has not yet handled the last stream's list."""
    async with served(distinguishes_sockets=False) as it:
        lists = PluginClient.lists

        are_handled = asyncio.Event()

        async def late_lists(client: PluginClient) -> AsyncIterator[Any]:
            async for response in lists(client):
                await asyncio.sleep(0.1)
                yield response
            are_handled.set()

        monkeypatch.setattr(PluginClient, "lists", late_lists)
        await it.register()
        await it.connection.settle()
        await it.server.close()
        await are_handled.wait()
        assert it.kubelet.capacity()[STUB].allocatable == 0


async def test_a_single_stream_may_end_at_once() -> None:
    """The kubelet handles the stream's list before the stream's end."""
    async with served(distinguishes_sockets=False) as it, asyncio.timeout(0):
        await it.connection.settle()


@pytest.mark.parametrize("distinguishes_sockets", BEFORE_AND_SINCE_1_37)
async def test_no_admission_fails_while_old_streams_end(
    monkeypatch: pytest.MonkeyPatch,
    distinguishes_sockets: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """This holds even if the kubelet makes a call on the connection of a stream that is about to end, as 1.37 may."""
    monkeypatch.setattr(module, "SETTLE", 0.2)
    async with served(distinguishes_sockets=distinguishes_sockets) as it:
        running = asyncio.create_task(it.admissions.run())
        for _ in range(ROUNDS):
            assert not await it.end_surplus()
            while not it.server.streams.are_many:
                await it.register()
            await it.admissions.more()
            assert await it.end_surplus()
            await it.register()
            await it.admissions.more()
            assert not it.server.streams.are_many
        running.cancel()
        await asyncio.wait([running])
    assert it.admissions.failures == []
