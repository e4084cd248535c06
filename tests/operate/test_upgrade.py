"""Rolling upgrades: for a moment two hubs share a node, and whoever wants a device gets one."""

import asyncio
import signal
import sys

import pytest
from operated import GPU, HCA, STUB, operated
from support import chance, until

from benchmarks.nodes import RESOURCES, all_allocatable, node_of_three
from benchmarks.upgrades import Traffic, ready, upgrade
from hub.instances import living
from hub.kubelet.node import Node
from hub.state import Registration, read_state

ALL = {GPU: 1, HCA: 1, STUB: 1}


@pytest.mark.parametrize("tells_sockets_apart", [False, True], ids=["before-1.37", "from-1.37"])
async def test_no_admission_fails(tells_sockets_apart: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Pods are admitted all the time, and no resource is ever without its devices, however the older hub ends."""
    luck = chance()
    async with node_of_three(tells_sockets_apart=tells_sockets_apart) as node:
        traffic = Traffic(node.kubelet)
        with traffic.running():
            for number, signum in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)):
                await upgrade(node, f"hub-{number}", after=luck.uniform(0, 0.5), signum=signum)
        assert (traffic.failures, traffic.gaps) == ([], [])
        assert len(traffic.waits) > 10
        # A kubelet that starts after all that is served by the youngest hub alone, once.
        before = len(node.kubelet.registrations)
        await node.kubelet.restart()
        await all_allocatable(node.kubelet)
        later = node.kubelet.registrations[before:]
        assert sorted(call.resource for call in later) == sorted(RESOURCES)
        assert all(call.endpoint.startswith("hub-2-") and not call.error for call in later)


async def test_the_end_of_the_younger_is_noticed() -> None:
    """After the upgrade a plugin that ends takes its devices with it at once, as ever."""
    async with node_of_three() as node:
        await upgrade(node, "younger")
        await _stop_plugin(node, "red")
        await node.kubelet.wait_until(lambda kubelet: kubelet.capacity()[RESOURCES[0]].allocatable == 0)


async def test_a_kubelet_that_restarts_in_the_middle() -> None:
    """Both hubs are there, and the younger one has the resources again; the older one leaves them to it."""
    async with node_of_three() as node:
        older, older_dir = node.hub, node.run_dir
        assert older
        await node.start_hub("younger")
        await ready(node)
        before = len(node.kubelet.registrations)
        await node.kubelet.restart()
        await all_allocatable(node.kubelet)

        def handed_over() -> bool:
            states = [read_state(older_dir.state(name.partition("/")[2])) for name in RESOURCES]
            found = [resource.registration for state in states if state for resource in state.resources]
            return found == [Registration.HANDED_OVER] * len(RESOURCES)

        await until(handed_over, "the older hub to stand back")
        taken = [call.endpoint for call in node.kubelet.registrations[before:] if not call.error]
        assert {endpoint.partition("-")[0] for endpoint in taken} == {"younger"}
        traffic = Traffic(node.kubelet)
        with traffic.running():
            older.terminate()
            assert await older.wait() == 0
        assert (traffic.failures, traffic.gaps) == ([], [])


async def test_an_upgrade_that_is_taken_back() -> None:
    """The younger hub goes first: the older one has the resources again, and knows what was said meanwhile."""
    async with operated() as node:
        older_dir = node.run_dir
        await node.start_hub("younger")
        await ready(node)
        answer = await node.dphub("cordon", "stub-1", "--reason", "said meanwhile")
        assert answer.code == 0, answer
        await node.kubelet.wait_for(STUB, 3)
        refused = await node.dphub("cordon", "stub-2", "--instance", "dphub")
        assert refused.code == 1
        assert "hub younger has taken over this node; ask there" in refused.err
        before = len(node.kubelet.registrations)
        await node.stop_hub()
        await until(lambda: [hub.name for hub in living(older_dir)] == ["dphub"], "the older hub to be alone")
        await node.kubelet.wait_until(lambda kubelet: len(kubelet.registrations) >= before + len(ALL), 20)
        await node.kubelet.wait_for(STUB, 3)
        pod = await node.kubelet.admit("after", ALL)
        assert len(pod.containers["main"].allocations) == len(ALL)
        status = await node.dphub("devices", "stub", "--json")
        assert "said meanwhile" in status.out


async def test_what_belongs_to_the_node_survives() -> None:
    """A cordon and a broken device are what they were, although the pod that knew them is gone."""
    async with operated() as node:
        await node.dphub("cordon", "stub-1", "--reason", "the fan is loud")
        node.gpus.xid(0, 79)
        await node.kubelet.wait_for(GPU, 7)
        older = node.hub
        assert older
        await node.start_hub("younger")
        await ready(node)
        older.kill()
        await older.wait()
        await node.kubelet.wait_until(lambda kubelet: kubelet.capacity()[GPU].allocatable == 7, 20)
        status = (await node.dphub("status")).out
        assert "the fan is loud" in status
        assert "XID 79" in status


async def test_a_killed_pod_leaves_nothing_for_long() -> None:
    """The next hub removes files and sockets of hubs that are no more, and those of nobody else."""
    async with node_of_three() as node:
        await node.start_hub("killed")
        await ready(node)
        assert node.hub
        node.hub.kill()
        await node.hub.wait()
        kept = {path.name for path in node.run_dir.path.glob("dphub.*")}
        foreign = node.plugin_dir / "killed.sock"
        foreign.touch()
        assert list(node.run_dir.path.glob("killed.*"))
        await node.start_hub("next")
        await ready(node)
        assert not list(node.run_dir.path.glob("killed.*"))
        assert not list(node.plugin_dir.glob("killed-*.sock"))
        assert kept <= {path.name for path in node.run_dir.path.glob("dphub.*")}
        assert foreign.exists()


async def test_names() -> None:
    """A hub's name is part of its sockets' names, so not everything will do; commands are about the younger hub."""
    async with operated() as node:
        await node.start_hub("Not-A-Name")
        assert node.hub
        assert await node.hub.wait() == 2
        assert 'is "Not-A-Name", expected small letters, digits and "-"' in node.log.read_text()
        await node.start_hub("younger")
        await ready(node)
        assert '"instance": "younger"' in (await node.dphub("status", "--json")).out
        assert '"instance": "dphub"' in (await node.dphub("status", "--json", "--instance", "dphub")).out


async def _stop_plugin(node: Node, name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub", "stop", name, "--run-dir", str(node.run_dir.path)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
