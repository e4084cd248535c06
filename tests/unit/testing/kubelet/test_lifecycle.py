"""The fake kubelet starts, ends and keeps its state as a real one does."""

import asyncio
import gc
import json
import os
import socket
from pathlib import Path

import grpc.aio
import pytest

from hub.testing.kubelet import AdmissionError, Capacity, FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.scripted import ScriptedPlugin, allocated, device, devices, hang
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.kubelet import node

CHECKPOINT = "kubelet_internal_checkpoint"


def connect(path: Path) -> None:
    """Open a connection and drop it.

    Raises:
        ConnectionRefusedError: the file is there, but no process listens.
        FileNotFoundError: there is no file.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))


async def test_it_makes_its_directories_and_answers_when_its_socket_is_there() -> None:
    """A client that sees kubelet.sock can call it."""
    async with node() as it:
        connect(it.plugin_dir / "kubelet.sock")
        connect(it.plugin_dir.parent / "pod-resources" / "kubelet.sock")


async def test_a_start_deletes_every_socket_and_nothing_else() -> None:
    """A plugin's socket is gone by the time a new kubelet answers; files and the checkpoint stay."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(1))
        (it.plugin_dir / "note.txt").write_text("kept")
        (it.plugin_dir / "directory").mkdir()
        await it.kubelet.crash()
        connect(it.plugin_dir / plugin.socket)
        await it.kubelet.start()
        assert sorted(path.name for path in it.plugin_dir.iterdir()) == [
            "directory",
            "kubelet.sock",
            CHECKPOINT,
            "note.txt",
        ]


async def test_a_stop_takes_the_socket_away_and_a_crash_leaves_it_dead() -> None:
    """After a crash the file has the same inode and change time, and no process listens there."""
    async with node() as it:
        path = it.plugin_dir / "kubelet.sock"
        before = path.stat()
        await it.kubelet.crash()
        after = path.stat()
        assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
        with pytest.raises(ConnectionRefusedError):
            connect(path)
        await it.kubelet.start()
        connect(path)
        await it.kubelet.stop()
        with pytest.raises(FileNotFoundError):
            connect(path)


async def test_every_start_has_a_socket_of_another_identity() -> None:
    """Inode and change time distinguish one kubelet from the next, however quickly one follows the other."""
    async with node() as it:
        path = it.plugin_dir / "kubelet.sock"
        seen = [path.stat()]
        for end in (it.kubelet.stop, it.kubelet.crash) * 10:
            await end()
            await it.kubelet.start()
            assert path.stat().st_ino != seen[-1].st_ino
            seen.append(path.stat())
        assert it.kubelet.starts == len(seen) == len({(stat.st_ino, stat.st_ctime_ns) for stat in seen})


async def test_verbs_can_be_repeated() -> None:
    """Starting a running kubelet and stopping a stopped one do nothing."""
    async with node() as it:
        await it.kubelet.start()
        assert it.kubelet.starts == 1
        await it.kubelet.stop()
        await it.kubelet.stop()
        await it.kubelet.crash()
        assert not it.kubelet.running
        assert it.kubelet.capacity() == {}


async def test_a_restart_recreates_a_removed_directory() -> None:
    """The plugin directory may be lost while no kubelet is running."""
    async with node() as it:
        await it.kubelet.stop()
        (it.plugin_dir).rename(it.plugin_dir.with_name("gone"))
        await it.kubelet.start()
        connect(it.plugin_dir / "kubelet.sock")


async def test_a_start_that_fails_leaves_nothing() -> None:
    """A kubelet that cannot listen reports that, and can be started once it can."""
    async with node() as it:
        await it.kubelet.stop()
        blocked = it.plugin_dir / "kubelet.sock"
        blocked.mkdir()
        with pytest.raises(OSError, match=r"kubelet\.sock"):
            await it.kubelet.start()
        assert not it.kubelet.running
        blocked.rmdir()
        await it.kubelet.start()
        connect(blocked)


@pytest.mark.parametrize("end", ["stop", "crash"])
async def test_an_end_closes_the_streams_at_once(end: str) -> None:
    """The end of their stream shows plugins that the kubelet is gone."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(1))
        other = await it.plugin("example.com/other", "other.sock", listed=devices(1))
        assert (plugin.streams, other.streams) == (1, 1)
        await getattr(it.kubelet, end)()
        async with asyncio.timeout(WAIT_SECONDS):
            await plugin.no_streams.wait()
            await other.no_streams.wait()


@pytest.mark.parametrize("end", ["stop", "crash", "restart"])
@pytest.mark.parametrize("call", ["options", "allocate", "pre_start"])
async def test_an_end_in_the_middle_of_a_call(end: str, call: str) -> None:
    """However busy the kubelet is, it stops at once and completely."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(2), pre_start=True)
        reached = asyncio.Event()

        async def note_and_hang(request: object, context: object) -> None:
            reached.set()
            await hang(request, context)

        setattr(plugin, f"on_{call}", note_and_hang)
        busy = asyncio.create_task(plugin.register() if call == "options" else it.kubelet.admit("pod", {STUB: 1}))
        waiting = asyncio.create_task(it.kubelet.admit("next", {STUB: 1}))
        await reached.wait()
        async with asyncio.timeout(WAIT_SECONDS):
            await getattr(it.kubelet, end)()
            outcomes = await asyncio.gather(busy, waiting, return_exceptions=True)
        if call != "options":
            assert isinstance(outcomes[0], AdmissionError if call == "allocate" else Exception)
        else:
            assert isinstance(outcomes[0], grpc.aio.AioRpcError)


async def test_resources_come_back_empty_until_their_plugin_registers() -> None:
    """After a restart a known resource has no device; a pod admitted in that window fails for good."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(3))
        await it.kubelet.restart()
        assert it.kubelet.capacity() == {STUB: Capacity(0, 0)}
        with pytest.raises(AdmissionError, match="UnexpectedAdmissionError: Allocate failed due to no healthy devices"):
            await it.kubelet.admit("early", {STUB: 1})
        await plugin.close()
        await plugin.serve()
        await plugin.register()
        await it.kubelet.wait_for(STUB, allocatable=3)
        assert [call.start for call in it.kubelet.registrations] == [1, 2]


async def test_pods_keep_their_devices_over_a_restart() -> None:
    """What a pod holds is in the checkpoint, and is not given to another pod by the next kubelet."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(3))
        old = await it.kubelet.admit("old", {STUB: 2})
        plain = await it.kubelet.admit("plain")
        await it.kubelet.crash()
        await plugin.close()
        await it.kubelet.start()
        await plugin.serve()
        await plugin.register()
        await it.kubelet.wait_for(STUB, allocatable=3)
        assert set(it.kubelet.pods) == {old.key, plain.key}
        with pytest.raises(AdmissionError, match="Requested: 2, Available: 1"):
            await it.kubelet.admit("new", {STUB: 2})
        await it.kubelet.remove(old)
        await it.kubelet.admit("new", {STUB: 2})


@pytest.mark.fake_kubelet("a real kubelet gets the list of pods from the API server")
async def test_the_checkpoint_keeps_the_state() -> None:
    """A fake kubelet in another process continues from the file alone."""
    async with node() as it:
        plugin = await it.plugin(listed=[device("near", numa=[1, 0]), device("far"), device("bad", healthy=False)])
        plugin.on_allocate = answer_with_environment
        pod = await it.kubelet.admit("pod", {STUB: 2}, namespace="team")
        held = pod.containers["main"]
        data = json.loads((it.plugin_dir / CHECKPOINT).read_text())["Data"]
        assert data["RegisteredDevices"] == {STUB: ["near", "far"]}
        assert [entry["PodUID"] for entry in data["PodDeviceEntries"]] == ["team/pod"]
        await it.kubelet.stop()
        async with FakeKubelet(it.plugin_dir) as other:
            again = other.pods["team/pod"].containers["main"]
            assert {resource: set(ids) for resource, ids in again.devices.items()} == {STUB: {"near", "far"}}
            assert again.response == held.response
            assert {d.id: set(d.numa) for d in again.allocations[STUB].devices} == {"near": {0, 1}, "far": set()}


async def answer_with_environment(*_: object) -> object:
    """Create a response that the kubelet has to keep."""
    return allocated(envs={"KEY": "value"}, annotations={"a": "b"})


async def test_a_broken_checkpoint_stops_no_kubelet() -> None:
    """It continues without the checkpoint, as a real one does."""
    async with node() as it:
        await it.plugin(listed=devices(1))
        await it.kubelet.stop()
        (it.plugin_dir / CHECKPOINT).write_text("{")
        await it.kubelet.start()
        assert it.kubelet.capacity() == {}


@pytest.mark.fake_kubelet("the server of a real one is not in this process")
async def test_a_cancelled_restart_leaves_no_server() -> None:
    """The kubelet completes whatever it is doing: gRPC reports an error for a server that outlives its loop."""
    for turns in range(40):
        async with node() as it:
            restarting = asyncio.create_task(it.kubelet.restart())
            for _ in range(turns):
                await asyncio.sleep(0)
            restarting.cancel()
            await asyncio.wait([restarting])
            await it.kubelet.stop()
            servers = [each for each in gc.get_objects() if isinstance(each, grpc.aio.Server)]
            assert not any(server._server.is_running() for server in servers), turns


@pytest.mark.fake_kubelet("a real one takes longer to start")
async def test_restarts_are_fast() -> None:
    """A thousand of them take seconds, even on a busy machine, so they add little to a measurement of plugins."""
    async with node() as it, asyncio.timeout(WAIT_SECONDS):
        for _ in range(100):
            await it.kubelet.restart()


def open_descriptors() -> int:
    """Return how many open descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_restarts_leave_no_descriptor_open() -> None:
    """A thousand restarts in one process do not exhaust its descriptors."""
    async with node() as it:
        plugin = ScriptedPlugin(it.plugin_dir, listed=devices(1))
        counts = []
        for _ in range(30):
            await plugin.serve()
            await plugin.register()
            await it.kubelet.wait_for(STUB, allocatable=1)
            await plugin.close()
            await it.kubelet.restart()
            counts.append(open_descriptors())
        # gRPC closes some a moment late; a leak leaves at least one for each of the 20 restarts.
        assert counts[-1] - counts[9] < 10, counts
