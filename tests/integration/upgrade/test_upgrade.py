"""Rolling upgrades: for a moment two hubs share a node, and every container that requests a device gets one."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

import pytest

from benchmarks.nodes import RESOURCES, all_allocatable, node_of_three
from benchmarks.upgrades import Traffic, ready, upgrade
from hub.base.instances import running_hubs
from hub.model.node import Condition
from hub.model.plugin import RegistrationStatus
from hub.status.reader import read_report
from hub.testing.kubelet import AdmissionError, ContainerStartError, FakeKubelet
from hub.testing.node import Node
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.kubelet import BEFORE_AND_SINCE_1_37
from tests.harness.node import random_source
from tests.harness.operated import GPU, HCA, STUB, OperatedNode, operated
from tests.harness.processes import started

ALL = {GPU: 1, HCA: 1, STUB: 1}


@pytest.mark.parametrize("distinguishes_sockets", BEFORE_AND_SINCE_1_37)
async def test_no_admission_fails(distinguishes_sockets: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Pods are admitted all the time, and no resource is ever without its devices, however the older hub exits.

    A hub that is killed may have two streams. When the first ends, kubelet 1.37 and later may call the other.
    """
    rng = random_source()
    async with node_of_three(distinguishes_sockets=distinguishes_sockets) as node:
        traffic = Traffic(node.kubelet)
        with traffic.running():
            for number, signum in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)):
                await upgrade(node, f"hub-{number}", after=rng.uniform(0, 0.5), signum=signum)
        failures = [each for each in traffic.failures if not (distinguishes_sockets and _was_cut_off(each))]
        assert (failures, traffic.gaps) == ([], [])
        assert len(traffic.waits) > 10
        # A kubelet that starts after all this is served by the newest hub alone, once.
        before = len(node.kubelet.registrations)
        await node.kubelet.restart()
        await all_allocatable(node.kubelet)
        later = node.kubelet.registrations[before:]
        assert sorted(call.resource for call in later) == sorted(RESOURCES)
        assert all(call.endpoint.startswith("hub-2-") and not call.error for call in later)


def _was_cut_off(failure: str) -> bool:
    """Return whether the plugin that the kubelet called was killed."""
    return any(words in failure for words in ("code = Unavailable", "code = Canceled"))


async def test_the_end_of_the_newer_is_noticed() -> None:
    """After the upgrade, the devices of a plugin that exits become unavailable, as promptly as usual."""
    async with node_of_three() as node:
        await upgrade(node, "v2")
        await _operate(node, "stop", "red")
        await node.kubelet.wait_until(lambda kubelet: kubelet.capacity()[RESOURCES[0]].allocatable == 0)


async def test_the_end_of_the_newer_is_noticed_whenever_it_comes() -> None:
    """The newer hub is stopped at the moment when it registers again, which is just after the older one has exited."""
    async with node_of_three() as node:
        older = node.hub
        assert older
        await node.start_hub("v2")
        await ready(node)
        older.terminate()
        assert await older.wait() == 0

        def registers_again(kubelet: FakeKubelet) -> bool:
            calls = [call for call in kubelet.registrations if call.endpoint.startswith("v2-")]
            return len(calls) > len(RESOURCES)

        await node.kubelet.wait_until(registers_again)
        assert await node.stop_hub() == 0
        await node.kubelet.wait_until(
            lambda kubelet: [kubelet.capacity()[name].allocatable for name in RESOURCES] == [0, 0, 0]
        )


async def test_a_kubelet_that_restarts_in_the_middle() -> None:
    """With both hubs running, the newer one gets the resources again, and the older one leaves them to it."""
    async with node_of_three() as node:
        older, older_dir = node.hub, node.run_dir
        assert older
        await node.start_hub("v2")
        await ready(node)
        before = len(node.kubelet.registrations)
        await node.kubelet.restart()
        await all_allocatable(node.kubelet)

        def handed_over() -> bool:
            states = [read_report(older_dir.report(name.partition("/")[2])) for name in RESOURCES]
            found = [resource.registration for state in states if state for resource in state.resources]
            return found == [RegistrationStatus.SUPERSEDED] * len(RESOURCES)

        await wait_until(handed_over, "the older hub to be superseded")
        taken = [call.endpoint for call in node.kubelet.registrations[before:] if not call.error]
        assert {endpoint.partition("-")[0] for endpoint in taken} == {"v2"}
        traffic = Traffic(node.kubelet)
        with traffic.running():
            older.terminate()
            assert await older.wait() == 0
        assert (traffic.failures, traffic.gaps) == ([], [])


async def test_an_upgrade_that_is_rolled_back() -> None:
    """The newer hub exits first: the older one has the resources again, and knows the cordons set in the meantime."""
    async with operated() as node:
        older_dir = node.run_dir
        await node.start_hub("v2")
        await ready(node)
        answer = await node.dphub("cordon", "stub-1", "--reason", "said by the newer hub")
        assert answer.code == 0, answer
        await node.kubelet.wait_for(STUB, 3)
        refused = await node.dphub("cordon", "stub-2", "--instance", "dphub")
        assert refused.code == 1
        assert "the newer hub v2 owns this node: repeat the command with --instance v2" in refused.err
        before = len(node.kubelet.registrations)
        await node.stop_hub()
        await wait_until(
            lambda: [hub.name for hub in running_hubs(older_dir)] == ["dphub"], "the older hub to be the only one"
        )
        await node.kubelet.wait_until(lambda kubelet: len(kubelet.registrations) >= before + len(ALL), 20)
        await node.kubelet.wait_for(STUB, 3)
        pod = await node.kubelet.admit("after", ALL)
        assert len(pod.containers["main"].allocations) == len(ALL)
        status = await node.dphub("devices", "stub", "--json")
        assert "said by the newer hub" in status.out


async def test_a_newer_hub_whose_plugin_does_not_serve() -> None:
    """The older hub keeps the registration and the node's health and cordons, even if the newer one exits."""
    async with operated() as node:
        older_dir = node.run_dir
        _autostart(node, "stub", "False")
        await node.start_hub("v2")
        await wait_until(lambda: len(running_hubs(older_dir)) > 1, "the newer hub")
        answer = await node.dphub("cordon", "stub-1", "--reason", "the fan is loud", "--instance", "dphub")
        assert answer.code == 0, answer
        node.stub_faults(unhealthy={"stub-2": "pulled out"})
        await node.kubelet.wait_for(STUB, 2)
        # This leaves out the time that the older hub gives a plugin that is about to serve.
        begin = len(node.kubelet.registrations)
        await node.kubelet.restart()
        await node.kubelet.wait_for(STUB, 2)
        stub = [call for call in node.kubelet.registrations[begin:] if call.resource == STUB]
        assert [call.endpoint.partition("-")[0] for call in stub] == ["dphub"]
        await node.stop_hub()
        assert "the fan is loud" in (await node.dphub("devices", "stub", "--json")).out
        await node.kubelet.wait_for(STUB, 2)


async def test_a_newer_plugin_that_exits() -> None:
    """However the plugin exits, and even if its hub keeps running, the older hub gets the resource back each time."""
    async with node_of_three() as node:
        older_dir = node.run_dir
        await node.start_hub("v2")
        await ready(node)
        for _ in range(2):
            await _operate(node, "stop", "red")
            await _admitted_by(node, "dphub")
            # A restart of the kubelet in the meantime does not change this.
            await node.kubelet.restart()
            await all_allocatable(node.kubelet)
            await _operate(node, "start", "red")
            await _admitted_by(node, "v2")
        assert node.hub
        node.hub.kill()
        await node.hub.wait()
        await _admitted_by(node, "dphub")

        def registered() -> bool:
            state = read_report(older_dir.report("red"))
            return bool(state) and state.resources[0].registration is RegistrationStatus.REGISTERED

        await wait_until(registered, "the older hub to report the registration")
        # Nothing has accumulated: each process that serves sends a change to this kubelet once.
        before = len(node.kubelet.lists(RESOURCES[0]))
        (node.log.parent / "red.faults.json").write_text('{"unhealthy": {"red-0": "pulled out"}}')
        await node.kubelet.wait_for(RESOURCES[0], 3)
        assert len(node.kubelet.lists(RESOURCES[0])) == before + 1


NEW_VERSION = """
import os
from pathlib import Path
from hub import Device, Plugin
class P(Plugin):
    resource = "example.com/p"
    scan_interval = 0.2
    def devices(self):
        if os.environ["DPHUB_INSTANCE"] == "v2" and not Path(__file__).with_name("fixed").exists():
            raise OSError("the new version does not find its library")
        return [Device("one")]
"""


async def test_a_newer_plugin_with_a_fault() -> None:
    """It takes nothing over while the older one serves, and reports this; once that has stopped, it serves anyway."""
    config = "[watcher:p]\ncmd = python -m hub.plugin {directory}/p.py:P\n# {watchdog}\n"
    async with operated(config, files={"p.py": NEW_VERSION}, wanted={"example.com/p": 1}) as node:
        older = node.hub
        assert older
        await node.start_hub("v2")
        await wait_until(lambda: "an older hub keeps serving" in str(node.plugin("p")), "the newer plugin in standby")
        plugin = node.plugin("p")
        assert plugin
        assert plugin.condition is Condition.STANDBY
        assert (await node.dphub("status")).code == 1
        assert (await node.get("/readyz"))[0] == 503
        assert [call.endpoint.partition("-")[0] for call in node.kubelet.registrations] == ["dphub"]
        older.terminate()
        await older.wait()
        await node.kubelet.wait_until(lambda kubelet: kubelet.registrations[-1].endpoint.startswith("v2-"))
        (node.directory / "fixed").touch()
        await node.kubelet.wait_for("example.com/p", 1)
        await node.without_problems()


async def test_a_standby_plugin_does_not_write_health() -> None:
    """A cordon on the older hub persists, although a newer hub's plugin starts, fails, waits in standby and exits."""
    config = "[watcher:p]\ncmd = python -m hub.plugin {directory}/p.py:P\n# {watchdog}\n"
    async with operated(config, files={"p.py": NEW_VERSION}, wanted={"example.com/p": 1}) as node:
        older_dir = node.run_dir
        await node.start_hub("v2")
        await wait_until(lambda: "an older hub keeps serving" in str(node.plugin("p")), "the newer plugin in standby")
        cordoned = await node.dphub("cordon", "one", "--reason", "the fan is loud", "--instance", "dphub")
        assert cordoned.code == 0, cordoned
        assert (await node.dphub("stop", "p", "--instance", "v2")).code == 0
        assert "the fan is loud" in older_dir.health("p").read_text()
        before = read_report(older_dir.report("p"))
        assert before
        os.kill(before.pid, signal.SIGKILL)

        def replaced() -> bool:
            state = read_report(older_dir.report("p"))
            return bool(state and state.pid != before.pid and state.resources)

        await wait_until(replaced, "the older hub's plugin after its restart")
        assert "the fan is loud" in (await node.dphub("devices", "p", "--json", "--instance", "dphub")).out
        await node.kubelet.wait_for("example.com/p", 0)


def _autostart(node: OperatedNode, plugin: str, value: str) -> None:
    config = node.directory / "circus.ini"
    config.write_text(config.read_text().replace(f"[watcher:{plugin}]\n", f"[watcher:{plugin}]\nautostart = {value}\n"))


async def _operate(node: Node, command: str, plugin: str) -> None:
    async with started(
        *(sys.executable, "-m", "hub", command, plugin, "--run-dir", str(node.run_dir.path)),
        stdout=asyncio.subprocess.DEVNULL,
    ) as process:
        assert await process.wait() == 0


async def _admitted_by(node: Node, hub: str) -> None:
    """Wait until this hub has the resource and a pod gets a device. How many pods fail before that is unpredictable."""
    red = RESOURCES[0]

    def registered() -> bool:
        calls = [call for call in node.kubelet.registrations if call.resource == red and not call.error]
        return calls[-1].endpoint.startswith(f"{hub}-")

    await wait_until(registered, f"{hub} to register")
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            with suppress(AdmissionError, ContainerStartError):
                await node.kubelet.remove(await node.kubelet.admit("asks", {red: 1}))
                return
            await asyncio.sleep(0.05)
