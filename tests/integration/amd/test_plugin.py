"""The AMD plugin as a kubelet sees it, on nodes that a tree of files simulates."""

from pathlib import Path

import pytest

from hub.testing.kubelet import ContainerStartError, FakeKubelet
from hub.testing.plugin import PluginProcess
from tests.harness.node import Node
from tests.simulators.amdnodes import apu
from tests.simulators.amdtree import AmdTree

FIRST, SECOND = "0000:05:00.0", "0000:26:00.0"


def _root(node: Node) -> Path:
    root = node.directory / "root"
    root.mkdir()
    return root


def _start(node: Node, config: str = "") -> PluginProcess:
    env = {"DPHUB_HOST_ROOT": str(node.directory / "root")}
    return node.start_plugin("plugins.amd:AMD", name="amd", config=config or None, env=env)


async def test_a_container_gets_its_gpus(node: Node, kubelet: FakeKubelet) -> None:
    """By default, a GPU is a device of amd.com/gpu; a container gets its device files and KFD's, nothing more."""
    tree = AmdTree(_root(node))
    tree.add(FIRST, numa=0)
    tree.add(SECOND, numa=1)
    _start(node)
    await kubelet.wait_for("amd.com/gpu", 2)
    assert [(device.id, device.numa) for device in kubelet.devices("amd.com/gpu")] == [(FIRST, (0,)), (SECOND, (1,))]
    got = (await kubelet.admit("job", {"amd.com/gpu": 2})).containers["main"].response
    files = ["kfd", "dri/card1", "dri/renderD128", "dri/card9", "dri/renderD136"]
    assert [(file.host_path, file.container_path, file.permissions) for file in got.devices] == [
        (f"/dev/{name}", f"/dev/{name}", "rw") for name in files
    ]
    assert (dict(got.envs), list(got.mounts)) == ({}, [])


async def test_a_card_is_partitioned(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin notices this without a restart: the new resource appears, and the old one stays with no devices."""
    tree = AmdTree(_root(node))
    tree.add(FIRST)
    _start(node, "resource_naming_strategy: mixed")
    await kubelet.wait_for("amd.com/spx_nps1", 1)
    tree.partition(FIRST, "CPX", "NPS4")
    await kubelet.wait_for("amd.com/cpx_nps4", 8)
    await kubelet.wait_for("amd.com/spx_nps1", 0)
    got = (await kubelet.admit("job", {"amd.com/cpx_nps4": 1})).containers["main"].response
    assert [file.host_path for file in got.devices] == ["/dev/kfd", "/dev/dri/card1", "/dev/dri/renderD128"]
    await kubelet.remove("job")
    tree.partition(FIRST, "SPX", "NPS1")
    await kubelet.wait_for("amd.com/spx_nps1", 1)
    await kubelet.wait_for("amd.com/cpx_nps4", 0)


async def test_a_gpu_that_is_not_free(node: Node, kubelet: FakeKubelet) -> None:
    """The container does not start, and the reason names the process; once that has exited, containers start again."""
    tree = apu(_root(node))
    tree.fill(4711, "0000:c1:00.0", 256 << 20, name="leftover")
    _start(node, "reset: {timeout: 0}")
    await kubelet.wait_for("amd.com/gpu", 1)
    with pytest.raises(ContainerStartError, match=r"other processes hold memory on the GPU: process 4711 \(leftover\)"):
        await kubelet.admit("job", {"amd.com/gpu": 1})
    await kubelet.remove("job")
    tree.exit(4711)
    await kubelet.admit("next", {"amd.com/gpu": 1})
