"""The Intel plugin as a kubelet sees it, on nodes that a tree of files simulates."""

import json
from pathlib import Path

from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import PluginProcess
from tests.harness.node import Node
from tests.simulators.inteltree import IntelTree, battlemage, four_vfs, two_flex

I915, XE, MONITORING = "gpu.intel.com/i915", "gpu.intel.com/xe", "gpu.intel.com/monitoring"


def intel_root(node: Node) -> Path:
    """Create the root of a node's file system."""
    root = node.directory / "root"
    root.mkdir()
    return root


def start_intel(node: Node, **settings: object) -> PluginProcess:
    """Start the plugin on it."""
    config = json.dumps({key.replace("_", "-"): value for key, value in settings.items()})
    root = str(node.directory / "root")
    return node.start_plugin("plugins.intel:Intel", name="intel", config=config, env={"DPHUB_HOST_ROOT": root})


async def test_each_gpu_is_a_device(node: Node, kubelet: FakeKubelet) -> None:
    """A device's id is its GPU's PCI address; it has its NUMA node, its own files and links."""
    two_flex(intel_root(node))
    start_intel(node)
    await kubelet.wait_for(I915, 2)
    assert [(device.id, device.numa) for device in kubelet.devices(I915)] == [
        ("0000:4d:00.0", (0,)),
        ("0000:b7:00.0", (1,)),
    ]
    got = (await kubelet.admit("job", {I915: 1})).containers["main"].response
    assert [(node.host_path, node.permissions) for node in got.devices] == [
        ("/dev/dri/card0", "rw"),
        ("/dev/dri/renderD128", "rw"),
    ]
    assert [(mount.host_path, mount.read_only) for mount in got.mounts] == [
        ("/dev/dri/by-path/pci-0000:4d:00.0-card", True),
        ("/dev/dri/by-path/pci-0000:4d:00.0-render", True),
    ]
    assert not got.envs


async def test_two_drivers_and_monitoring(node: Node, kubelet: FakeKubelet) -> None:
    """A container that monitors gets the files of all GPUs; these GPUs are still free for others."""
    battlemage(intel_root(node))
    start_intel(node, enable_monitoring=True)
    for resource in (I915, XE, MONITORING):
        await kubelet.wait_for(resource, 1)
    got = (await kubelet.admit("monitor", {MONITORING: 1})).containers["main"].response
    assert [node.host_path for node in got.devices] == [
        *("/dev/dri/card0", "/dev/dri/renderD128", "/dev/dri/card1", "/dev/dri/renderD129", "/dev/mei0")
    ]
    await kubelet.admit("job", {I915: 1, XE: 1})


async def test_shares_of_one_container_are_of_different_gpus(node: Node, kubelet: FakeKubelet) -> None:
    """The shares are taken from the GPUs on the NUMA node to which the kubelet has aligned the container."""
    tree = IntelTree(intel_root(node))
    for number, pci in enumerate(("0000:4d:00.0", "0000:4e:00.0", "0000:b7:00.0")):
        tree.add(pci, numa=number // 2)
    start_intel(node, shared_dev_num=10)
    await kubelet.wait_for(I915, 30)
    got = (await kubelet.admit("job", {I915: 2})).containers["main"].response
    assert [node.host_path for node in got.devices if "card" in node.host_path] == ["/dev/dri/card0", "/dev/dri/card1"]


async def test_a_gpu_is_divided(node: Node, kubelet: FakeKubelet) -> None:
    """Its virtual functions are served as soon as their files are there, and the GPU itself is no longer served."""
    tree = two_flex(intel_root(node))
    start_intel(node)
    await kubelet.wait_for(I915, 2)
    tree.divide("0000:4d:00.0", 4)
    await kubelet.wait_for(I915, 5)
    assert "0000:4d:00.0" not in {device.id for device in kubelet.devices(I915) if device.healthy}


async def test_a_node_without_gpus_gets_one(node: Node, kubelet: FakeKubelet) -> None:
    """The resources exist before the GPU does."""
    tree = IntelTree(intel_root(node))
    start_intel(node)
    for resource in (I915, XE):
        await kubelet.wait_for(resource, 0)
    tree.add("0000:03:00.0", driver="xe")
    await kubelet.wait_for(XE, 1)


async def test_a_gpu_that_is_too_hot(node: Node, kubelet: FakeKubelet) -> None:
    """This GPU is not allocated."""
    tree = four_vfs(intel_root(node))
    tree.set_temperature("0000:b7:00.0", 105)
    plugin = start_intel(node, health_management=True)
    await kubelet.wait_for(I915, 4)
    line = await plugin.logged("devices unhealthy")
    assert line["reason"] == "the temperature of pkg is above gpu-temp-limit (100 °C)"
