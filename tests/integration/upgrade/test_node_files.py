"""What hubs leave on the node for the next one, and under which names."""

from benchmarks.nodes import node_of_three
from benchmarks.upgrades import ready
from tests.harness.operated import GPU, operated


async def test_what_belongs_to_the_node_survives() -> None:
    """A cordon and a broken device are unchanged, although the pod that recorded them is gone."""
    async with operated() as node:
        await node.dphub("cordon", "stub-1", "--reason", "the fan is loud")
        node.gpus.xid(0, 79)
        await node.kubelet.wait_for(GPU, 7)
        older = node.hub
        assert older
        await node.start_hub("v2")
        await ready(node)
        older.kill()
        await older.wait()
        await node.kubelet.wait_until(lambda kubelet: kubelet.capacity()[GPU].allocatable == 7, 20)
        status = (await node.dphub("status")).out
        assert "the fan is loud" in status
        assert "XID 79" in status


async def test_a_killed_pod_leaves_nothing_for_long() -> None:
    """The next hub removes files and sockets of hubs that have exited, and no others."""
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
    """A hub's name is part of its sockets' names, so not every name is valid; commands use the newer hub."""
    async with operated() as node:
        await node.start_hub("Not-A-Name")
        assert node.hub
        assert await node.hub.wait() == 2
        assert 'is "Not-A-Name", expected lower-case letters, digits and "-"' in node.log.read_text()
        await node.start_hub("v2")
        await ready(node)
        assert '"instance": "v2"' in (await node.dphub("status", "--json")).out
        assert '"instance": "dphub"' in (await node.dphub("status", "--json", "--instance", "dphub")).out
