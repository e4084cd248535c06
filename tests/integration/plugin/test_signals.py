"""SIGHUP makes a plugin check everything, and SIGTERM stops it promptly."""

import asyncio
import signal
from pathlib import Path

import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB, PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.node import Node, asking_for, dialled, random_source, sockets_of_plugins


async def test_hup_without_a_change(node: Node, kubelet: FakeKubelet) -> None:
    """There is neither a new registration nor a new list, however often SIGHUP is sent."""
    plugin = node.start_plugin()
    await plugin.registered()
    await kubelet.wait_for(STUB, 4)
    for _ in range(20):
        plugin.hup()
        await asyncio.sleep(0.03)  # so that each may lead to a scan of its own
    await kubelet.admit("trainer", {STUB: 1})
    assert len(kubelet.registrations) == len(kubelet.lists(STUB)) == 1


async def test_hup_scans_for_devices(node: Node, kubelet: FakeKubelet) -> None:
    """What the plugin finds only by a scan is found on SIGHUP, without waiting for the next period."""
    target = node.write_plugin("""
class P(Plugin):
    resource = "example.com/stub"
    scan_interval = 3600.0

    def devices(self):
        return [Device(path.name) for path in Path("found").iterdir()]
""")
    (node.directory / "found").mkdir()
    plugin = node.start_plugin(target)
    await plugin.registered()
    (node.directory / "found" / "d1").touch()
    plugin.hup()
    await kubelet.wait_for(STUB, 1)


async def test_hup_at_any_moment_of_the_start_kills_no_process(node: Node, kubelet: FakeKubelet) -> None:
    """If the parent has blocked SIGHUP, as the hub does, the signal waits until there is a handler, which then runs."""
    rng = random_source()
    for number in range(6):
        plugin = node.start_plugin(name=f"stub{number}", hup_blocked=True)
        for _ in range(rng.choice([1, 1, 50])):
            plugin.hup()
            await asyncio.sleep(rng.uniform(0, 0.4) if rng.random() < 0.1 else 0.005)
        await plugin.registered()
        await kubelet.wait_for(STUB, 4)
        assert await plugin.stop() == 0


async def test_hup_is_handled_after_signals_during_the_start(node: Node, kubelet: FakeKubelet) -> None:
    """A process that was started with SIGHUP blocked still acts on it later."""
    node.faults("{}")
    target = node.write_plugin("""
class P(Plugin):
    resource = "example.com/stub"
    scan_interval = 3600.0
    def devices(self):
        return [Device("d1")] if Path("there").exists() else []
""")
    plugin = node.start_plugin(target, hup_blocked=True)
    plugin.hup()
    await plugin.registered()
    (node.directory / "there").touch()
    plugin.hup()
    await kubelet.wait_for(STUB, 1)


async def stopped(plugin: PluginProcess) -> None:
    """Stop a plugin and check everything that a stop promises."""
    assert await plugin.stop() == 0, plugin.log
    assert sockets_of_plugins(plugin.plugin_dir) == []
    assert plugin.lines()[-1]["event"] == "process stopped"
    assert not [line for line in plugin.lines() if line["level"] in {"error", "critical"}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_ends_streams_and_sockets(node: Node, kubelet: FakeKubelet, number: signal.Signals) -> None:
    """The kubelet's stream ends, the socket is removed, the exit code is 0, and the report is up to date."""
    plugin = node.start_plugin()
    await plugin.registered()
    await kubelet.wait_for(STUB, 4)
    plugin.signal(number)
    await kubelet.wait_for(STUB, 0)
    assert await plugin.exited() == 0
    assert node.sockets() == []
    assert plugin.resource().detail == "the plugin has stopped"  # type: ignore[union-attr]


async def test_a_stop_without_a_kubelet(node: Node) -> None:
    """A plugin that is waiting for a kubelet stops at once."""
    plugin = node.start_plugin()
    await plugin.resource_until(lambda state: bool(state.detail))
    await stopped(plugin)


async def test_a_stop_at_random_moments_after_the_start(node: Node, kubelet: FakeKubelet) -> None:
    """From the first line of its log on, SIGTERM is a clean stop, whatever the process is doing."""
    rng = random_source()
    for number in range(6):
        plugin = node.start_plugin(name=f"stub{number}")
        await plugin.logged("process started")
        await asyncio.sleep(rng.choice([0, rng.uniform(0, 0.1)]))
        await stopped(plugin)
    assert kubelet.starts == 1


async def test_a_stop_with_open_streams(node: Node, kubelet: FakeKubelet) -> None:
    """A stop disconnects all clients, however many there are."""
    plugin = node.start_plugin()
    await plugin.registered()
    async with dialled(node.sockets()[0]) as client:
        streams = [client.ListAndWatch(wire.Empty()) for _ in range(50)]
        for stream in streams:
            await anext(aiter(stream))
        await stopped(plugin)
        for stream in streams:
            stream.cancel()
    assert kubelet.capacity()[STUB].allocatable == 0


HANGING = """
class P(Plugin):
    resource = "example.com/stub"
    allocate_timeout = 3600.0
    def devices(self):
        if Path("hang").exists():
            threading.Event().wait()
        return [Device("d1")]
    def allocate(self, devices):
        Path("asked").touch()
        threading.Event().wait()
        return super().allocate(devices)
    def watch(self, changed):
        threading.Event().wait()
"""


async def test_a_stop_with_a_hanging_allocation(node: Node, kubelet: FakeKubelet) -> None:
    """A call that never returns does not delay the exit of the process."""
    plugin = node.start_plugin(node.write_plugin(HANGING))
    await plugin.registered()
    async with dialled(node.sockets()[0]) as client:
        call = asyncio.ensure_future(client.Allocate(asking_for("d1")))
        await wait_until((node.directory / "asked").exists, "the plugin asked for an allocation")
        await stopped(plugin)
        assert await asyncio.gather(call, return_exceptions=True)
    assert kubelet.running


async def test_a_stop_with_a_hanging_scan(node: Node, kubelet: FakeKubelet) -> None:
    """A scan that never returns does not delay the exit of the process, at the start or later."""
    target = node.write_plugin(HANGING)
    later = node.start_plugin(target, name="later")
    await later.registered()
    (node.directory / "hang").touch()
    later.hup()
    await stopped(later)
    first = node.start_plugin(target, name="first")
    await first.logged("process started")
    await stopped(first)
    assert kubelet.running


async def test_a_stop_while_the_kubelet_does_not_answer(node: Node) -> None:
    """A kubelet that does not answer delays the exit of the process only for a few seconds."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_unix_server(lambda _, writer: held.append(writer), node.plugin_dir / "kubelet.sock")
    plugin = node.start_plugin()
    await wait_until(lambda: held, "an attempt to register")
    await stopped(plugin)
    for connection in held:
        connection.close()
    server.close()


async def test_hup_while_it_stops_changes_nothing(node: Node, kubelet: FakeKubelet) -> None:
    """If a kubelet starts while a plugin is stopping, the plugin still stops cleanly."""
    for number in range(5):
        plugin = node.start_plugin(name=f"stub{number}")
        await kubelet.wait_for(STUB, 4)
        await plugin.registered()
        plugin.signal(signal.SIGTERM)
        while plugin.process.poll() is None:
            plugin.hup()
            await asyncio.sleep(0.001)
        assert plugin.process.returncode == 0


@pytest.mark.usefixtures("kubelet")
async def test_a_sigint_that_is_ignored_stays_ignored(node: Node) -> None:
    """Ctrl-C in the terminal of a script does not stop a plugin that the script runs in the background."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        plugin = node.start_plugin()
    finally:
        signal.signal(signal.SIGINT, handler)
    await plugin.registered()
    assert ignored_signals(plugin.pid) & 1 << signal.SIGINT - 1


def ignored_signals(pid: int) -> int:
    """Return the signals that a process ignores, as the kernel's bit mask: bit 0 is signal 1."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("SigIgn:")[2].split()[0], 16)
