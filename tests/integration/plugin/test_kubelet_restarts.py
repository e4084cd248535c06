"""A plugin process registers again after each restart of the kubelet."""

import asyncio
import signal

import psutil
import pytest

from hub.base.exits import Exit
from hub.model.plugin import RegistrationStatus
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.waiting import wait_until
from tests.harness.files import remove_tree
from tests.harness.node import Node, random_source
from tests.integration.plugin.registered import THREE, registered_in


async def test_a_kubelet_that_lost_its_socket_keeps_its_devices(node: Node, kubelet: FakeKubelet) -> None:
    """Only an open stream counts: nothing is dropped when kubelet.sock disappears."""
    plugin = node.start_plugin()
    await plugin.registered()
    (node.plugin_dir / "kubelet.sock").unlink()
    plugin.hup()
    await asyncio.sleep(1.5)
    assert plugin.resource().registration is RegistrationStatus.REGISTERED  # type: ignore[union-attr]
    assert kubelet.capacity()[STUB].allocatable == 4


@pytest.mark.parametrize("recreated", [False, True])
async def test_a_plugin_directory_that_is_recreated_ends_the_process(node: Node, recreated: bool) -> None:  # noqa: FBT001 - a case
    """The process reports this and exits with a code of its own, since a mount never shows the new directory."""
    async with FakeKubelet(node.plugin_dir) as kubelet:
        plugin = node.start_plugin()
        await kubelet.wait_for(STUB, 4)
        await plugin.registered()
    remove_tree(node.plugin_dir)
    if recreated:
        node.plugin_dir.mkdir()
    assert await plugin.exited() == Exit.PLUGIN_DIR_REPLACED
    assert plugin.lines("plugin directory replaced")[0]["plugin_dir"] == str(node.plugin_dir)
    assert node.sockets() == []


async def test_a_crashed_kubelet_is_awaited(node: Node, kubelet: FakeKubelet) -> None:
    """The old socket file stays, and the next kubelet gets one registration."""
    plugin = node.start_plugin(config=THREE)
    await kubelet.wait_for("example.com/b", 2)
    await plugin.registered("other.example.org/C_3")
    await kubelet.crash()
    await plugin.resource_until(lambda state: state.registration is RegistrationStatus.WAITING, "example.com/a")
    await kubelet.start()
    for name in ("example.com/a", "example.com/b", "other.example.org/C_3"):
        await kubelet.wait_for(name)
    assert registered_in(kubelet, 2) == ["example.com/a", "example.com/b", "other.example.org/C_3"]


async def test_a_restart_without_a_signal_is_noticed(node: Node, kubelet: FakeKubelet) -> None:
    """A plugin that was started by hand needs no hub to register again."""
    node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    await kubelet.restart()
    await kubelet.wait_for(STUB, 4)
    assert registered_in(kubelet, 2) == [STUB]


async def test_a_restart_without_a_signal_is_noticed_at_once(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin need not wait for the regular check, which never runs in this test."""
    rare = (
        "import hub.plugin.process\nhub.plugin.process.FILE_CHECK_INTERVAL = 3600\nfrom plugins.stub import Stub as P\n"
    )
    plugin = node.start_plugin(node.write_plugin(rare))
    for end in (kubelet.stop, kubelet.crash):
        await plugin.registered()
        await end()
        await plugin.resource_until(lambda state: state.registration is RegistrationStatus.WAITING)
        await kubelet.start()
    await kubelet.wait_for(STUB, 4)


async def test_each_kubelet_start_gets_one_registration_per_resource(node: Node, kubelet: FakeKubelet) -> None:
    """The restarts and crashes happen at random moments, each announced once, several times, or with a delay."""
    rng = random_source()
    plugin = node.start_plugin(config=THREE, hup_blocked=True)
    names = ["example.com/a", "example.com/b", "other.example.org/C_3"]
    accepted = []
    for _ in range(25):
        await asyncio.sleep(rng.choice([0, 0, rng.uniform(0, 0.2)]))
        # A real kubelet that stops ends its streams first, and accepts registrations until it closes its socket.
        accepted.append(registered_in(kubelet, kubelet.starts))
        await rng.choice([kubelet.stop, kubelet.crash])()
        await asyncio.sleep(rng.choice([0, rng.uniform(0, 0.1)]))
        await kubelet.start()
        for _ in range(rng.choice([1, 2, 3])):
            plugin.hup()
            await asyncio.sleep(rng.choice([0, rng.uniform(0, 0.02)]))
        if rng.random() < 0.7:
            for name in names:
                await kubelet.wait_for(name)
    for name in names:
        await kubelet.wait_for(name)
    await asyncio.sleep(1.2)  # one more check of the sockets
    for start, registered in enumerate(accepted, 1):
        assert len(registered) == len(set(registered)), f"start {start} has {registered}"
    assert registered_in(kubelet, kubelet.starts) == names
    assert plugin.lines("registered")


async def test_a_stopped_process_catches_up(node: Node, kubelet: FakeKubelet) -> None:
    """A frozen process that missed a kubelet's restart registers again when it continues."""
    plugin = node.start_plugin()
    await plugin.registered()
    plugin.signal(signal.SIGSTOP)
    await wait_until(lambda: psutil.Process(plugin.pid).status() == psutil.STATUS_STOPPED, "the process to be stopped")
    await kubelet.restart()
    plugin.hup()
    await kubelet.restart()
    plugin.hup()
    plugin.signal(signal.SIGCONT)
    await kubelet.wait_for(STUB, 4)
    assert registered_in(kubelet, 2) == []
    assert registered_in(kubelet, 3) == [STUB]
