"""The fake kubelet follows the lists of plugins, and the ends of their streams, with the pitfalls of a real one."""

import asyncio
import json
from pathlib import Path

import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet import AdmissionError, Capacity
from hub.testing.kubelet.client import PluginClient
from hub.testing.kubelet.devices import DeviceManager
from hub.testing.plugin import STUB
from hub.testing.scripted import ScriptedPlugin, device, devices, hang
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.kubelet import node
from tests.unit.testing.kubelet.registrations import refused

LIMIT = 4 * 1024 * 1024


async def test_every_list_is_complete() -> None:
    """A device that a list leaves out is gone; nothing arrives that was not sent."""
    async with node() as it:
        plugin = await it.plugin(listed=[device("a"), device("b", numa=[1])])
        plugin.send([device("b", healthy=False, numa=[0, 1])])
        await it.kubelet.wait_for(STUB, allocatable=0)
        (found,) = it.kubelet.devices(STUB)
        assert (found.id, found.healthy, found.numa) == ("b", False, (0, 1))
        first, second = it.kubelet.lists(STUB)
        assert [d.id for d in first.devices] == ["a", "b"]
        assert second.devices == (found,)
        assert second.time >= first.time
        assert first.size == wire.ListAndWatchResponse(devices=[device("a"), device("b", numa=[1])]).ByteSize()


async def test_the_checkpoint_follows_every_list() -> None:
    """Each message causes one write, which makes needless messages expensive."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(1))
        path = it.plugin_dir / "kubelet_internal_checkpoint"
        before = path.stat()
        plugin.send(devices(1))
        await it.kubelet.wait_until(lambda kubelet: len(kubelet.lists(STUB)) == 2)
        assert path.stat().st_mtime_ns > before.st_mtime_ns or path.stat().st_ino != before.st_ino
        assert json.loads(path.read_text())["Data"]["RegisteredDevices"] == {STUB: ["d0"]}


@pytest.mark.parametrize(("excess", "accepted"), [(0, True), (1, False)])
async def test_a_list_of_more_than_4_mib_ends_the_stream(*, excess: int, accepted: bool) -> None:
    """The kubelet's client accepts 4 MiB and not one byte more."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(1))
        padding = LIMIT + excess - wire.ListAndWatchResponse(devices=[device("x" * LIMIT)]).ByteSize()
        big = device("x" * (LIMIT + padding))
        assert wire.ListAndWatchResponse(devices=[big]).ByteSize() == LIMIT + excess
        plugin.send([big])
        if accepted:
            await it.kubelet.wait_until(lambda kubelet: kubelet.lists(STUB)[-1].size == LIMIT)
            assert it.kubelet.capacity() == {STUB: Capacity(1, 1)}
        else:
            await it.kubelet.wait_for(STUB, allocatable=0)
            assert len(it.kubelet.lists(STUB)) == 1


@pytest.mark.parametrize("end", ["end_streams", "close"])
async def test_a_dropped_stream_makes_every_device_unhealthy_at_once(end: str) -> None:
    """The capacity stays, and the devices return with the plugin."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(2))
        if end == "close":
            await plugin.close()
        else:
            plugin.end_streams()
        await it.kubelet.wait_for(STUB, allocatable=0)
        assert it.kubelet.capacity() == {STUB: Capacity(2, 0)}
        assert [d.healthy for d in it.kubelet.devices(STUB)] == [False, False]
        if end == "close":
            await plugin.serve()
        await plugin.register()
        await it.kubelet.wait_for(STUB, allocatable=2)


@pytest.mark.fake_kubelet("the grace time is shorter")
async def test_a_resource_is_forgotten_after_the_grace_time() -> None:
    """If its plugin stays away, the resource disappears from the node and from the checkpoint."""
    async with node(stopped_endpoint_grace=0.1) as it:
        plugin = await it.plugin(listed=devices(2))
        await plugin.close()
        await it.kubelet.wait_for(STUB, allocatable=0)
        await it.kubelet.wait_until(lambda kubelet: not kubelet.capacity(), what="the resource to be forgotten")
        with pytest.raises(AdmissionError, match=f"cannot allocate unregistered device {STUB}"):
            await it.kubelet.admit("pod", {STUB: 1})
        await it.kubelet.restart()
        assert it.kubelet.capacity() == {}


@pytest.mark.fake_kubelet("the grace time is shorter")
async def test_a_resource_that_came_back_is_not_forgotten() -> None:
    """The grace time of an earlier end does not count against a plugin that has returned."""
    async with node(stopped_endpoint_grace=0.2) as it:
        plugin = await it.plugin(listed=devices(2))
        plugin.end_streams()
        await it.kubelet.wait_for(STUB, allocatable=0)
        await plugin.register()
        await it.kubelet.wait_for(STUB, allocatable=2)
        await it.plugin("example.com/gone", "gone.sock", listed=devices(1))
        await it.kubelet.restart()
        assert set(it.kubelet.capacity()) == {STUB, "example.com/gone"}
        await plugin.close()
        await plugin.serve()
        await plugin.register()
        await it.kubelet.wait_for(STUB, allocatable=2)
        await it.kubelet.wait_until(lambda kubelet: set(kubelet.capacity()) == {STUB}, what="the other to go")


async def test_the_grace_time_begins_with_the_last_end() -> None:
    """A resource that came back and went again is kept for the whole time again."""
    manager = DeviceManager()
    client = PluginClient("stub.sock", Path("stub.sock"))
    manager.restore(STUB, now=1)
    manager.disconnected(STUB, client, now=2)
    await client.close()
    assert not manager.forget(STUB, stopped_at=1)
    assert manager.capacity() == {STUB: Capacity(0, 0)}
    assert manager.forget(STUB, stopped_at=2)
    assert manager.capacity() == {}


async def test_registering_again_replaces_the_endpoint() -> None:
    """Calls go to the plugin that registered last, while the old one's stream stays open."""
    async with node() as it:
        old = await it.plugin(listed=devices(1))
        new = await it.plugin(socket="new.sock", listed=devices(2))
        await it.kubelet.wait_for(STUB, allocatable=2)
        await it.kubelet.admit("pod", {STUB: 1})
        assert "Allocate" in new.names()
        assert "Allocate" not in old.names()
        assert old.streams == new.streams == 1


@pytest.mark.kubelets(before="1.37")
@pytest.mark.parametrize("end", ["end_streams", "close"])
async def test_the_end_of_an_old_stream_disconnects_the_new_plugin(end: str) -> None:
    """This is the pitfall: the kubelet disconnects by name, so the resource stays at 0 with a healthy new plugin."""
    async with node() as it:
        old = await it.plugin(listed=devices(2))
        new = await it.plugin(socket="new.sock", listed=devices(3))
        await it.kubelet.wait_for(STUB, allocatable=3)
        if end == "close":
            await old.close()
        else:
            old.end_streams()
        await it.kubelet.wait_for(STUB, allocatable=0)
        async with asyncio.timeout(WAIT_SECONDS):
            await new.no_streams.wait()
        assert it.kubelet.capacity() == {STUB: Capacity(3, 0)}
        with pytest.raises(AdmissionError, match="no healthy devices present"):
            await it.kubelet.admit("pod", {STUB: 1})
        await new.register()
        await it.kubelet.wait_for(STUB, allocatable=3)


@pytest.mark.kubelets(before="1.37")
async def test_the_end_of_an_old_stream_during_a_registration() -> None:
    """The same pitfall: the kubelet closes the new connection, and the new plugin gets an error."""
    async with node() as it:
        old = await it.plugin(listed=devices(2))
        new = await it.plugin(socket="new.sock", register=False)
        new.on_options = hang
        new.called.clear()
        registering = asyncio.create_task(refused(new))
        await new.called.wait()
        old.end_streams()
        closing = "rpc error: code = Canceled desc = grpc: the client connection is closing"
        assert await registering == f"failed to get device plugin options: {closing}"
        await it.kubelet.wait_for(STUB, allocatable=0)
        assert it.kubelet.capacity() == {STUB: Capacity(2, 0)}


@pytest.mark.kubelets(before="1.37")
async def test_the_end_of_an_old_stream_while_the_new_plugin_is_dialled() -> None:
    """The new plugin is registered, but does not hold the name: its own end goes unnoticed."""
    async with node() as it:
        old = await it.plugin(listed=devices(2))
        new = ScriptedPlugin(it.plugin_dir, socket="new.sock", listed=devices(3))
        registering = asyncio.create_task(new.register())
        await asyncio.wait([registering], timeout=0.1)
        old.end_streams()
        await it.kubelet.wait_for(STUB, allocatable=0)
        await new.serve()
        await registering
        await it.kubelet.wait_for(STUB, allocatable=3)
        await new.close()
        other = await it.plugin("example.com/other", "other.sock", listed=devices(1))
        assert other.streams == 1
        assert it.kubelet.capacity()[STUB] == Capacity(3, 3)


@pytest.mark.kubelets(since="1.37")
async def test_since_1_37_the_end_of_an_old_plugin_leaves_the_new_one_alone() -> None:
    """With kubelet 1.37 and later, each plugin of a resource has its own socket; the remaining one serves."""
    async with node(distinguishes_sockets=True) as it:
        old = await it.plugin(listed=devices(2))
        new = await it.plugin(socket="new.sock", listed=devices(3))
        await it.kubelet.wait_for(STUB, allocatable=3)
        await old.close()
        await it.kubelet.admit("pod", {STUB: 1})
        assert "Allocate" in new.names()
        await new.close()
        await it.kubelet.wait_for(STUB, allocatable=0)


@pytest.mark.kubelets(since="1.37")
async def test_since_1_37_a_plugin_must_not_register_twice() -> None:
    """The second call is rejected; after it, the end of the plugin goes unnoticed, and its socket is useless."""
    async with node(distinguishes_sockets=True) as it:
        plugin = await it.plugin(listed=devices(2))
        words = f"device plugin already connected: {it.plugin_dir / plugin.socket}"
        assert await refused(plugin) == words
        plugin.end_streams()
        await plugin.no_streams.wait()
        other = await it.plugin("example.com/other", "other.sock", listed=devices(1))
        assert other.streams == 1
        assert it.kubelet.capacity()[STUB] == Capacity(2, 2)
        assert await refused(plugin) == words


@pytest.mark.kubelets(since="1.37")
async def test_since_1_37_a_forgotten_plugin_is_called_on_its_next_socket() -> None:
    """After a second registration its devices stay: the process that serves the socket next is asked for them."""
    async with node(distinguishes_sockets=True) as it:
        plugin = await it.plugin(listed=devices(2))
        await refused(plugin)
        await plugin.close()
        restarted = await ScriptedPlugin(it.plugin_dir, listed=devices(1)).serve()
        try:
            await it.kubelet.admit("pod", {STUB: 2})
        finally:
            await restarted.close()
        assert "Allocate" in restarted.names()


async def test_ending_the_old_stream_before_registering_avoids_the_pitfall() -> None:
    """A plugin has to keep this order."""
    async with node() as it:
        old = await it.plugin(listed=devices(2))
        await old.close()
        await it.kubelet.wait_for(STUB, allocatable=0)
        new = await it.plugin(socket="new.sock", listed=devices(3))
        await it.kubelet.wait_for(STUB, allocatable=3)
        assert new.streams == 1


@pytest.mark.fake_kubelet("the time for dialling is shorter")
async def test_a_refused_registration_takes_the_name_from_its_holder() -> None:
    """After it the name has no holder, so that the end of the old stream goes unnoticed."""
    async with node(dial_back_timeout=2) as it:
        plugin = await it.plugin(listed=devices(2))
        await refused(ScriptedPlugin(it.plugin_dir, socket="absent.sock"))
        assert it.kubelet.capacity() == {STUB: Capacity(2, 2)}
        plugin.end_streams()
        await plugin.no_streams.wait()
        other = await it.plugin("example.com/other", "other.sock", listed=devices(1))
        assert other.streams == 1
        assert it.kubelet.capacity()[STUB] == Capacity(2, 2)
