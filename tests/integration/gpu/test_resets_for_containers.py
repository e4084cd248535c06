"""Resets of GPUs by the plugin, for containers that a kubelet starts."""

import os

import pytest

from hub.testing.kubelet import ContainerStartError, FakeKubelet
from tests.harness.gpu_support import GPU, GpuNode
from tests.harness.node import Node

GB = 1 << 30


async def test_a_container_waits_for_its_gpu(node: Node, kubelet: FakeKubelet) -> None:
    """With resets, a container is refused, with the name of the holder, and starts once the GPU is free."""
    gpus = GpuNode(node, "single")
    plugin = gpus.start("dphub: {reset: {nvidia.com/gpu: clean}}")
    await kubelet.wait_for(GPU, 1)
    gpus.driver.processes(0, (os.getpid(), GB, "python"))
    with pytest.raises(ContainerStartError, match=r"other processes are using the GPU: process \d+ \(python\)"):
        await kubelet.admit("first", {GPU: 1})
    await kubelet.remove("first")
    gpus.driver.repair(0)
    await kubelet.admit("second", {GPU: 1})
    assert gpus.driver.value(0, "gpu_clocks_reset") == 1
    assert len(plugin.lines("reset failed")) == 1


async def test_without_the_setting_nothing_is_reset(node: Node, kubelet: FakeKubelet) -> None:
    """Off is the default, even if another resource has it on."""
    gpus = GpuNode(node, "single")
    gpus.driver.processes(0, (4711, GB, "python"))
    other = "resources: {gpus: [{pattern: other, name: other}]}"
    plugin = gpus.start(f"{other}\ndphub: {{reset: {{nvidia.com/other: reset, nvidia.com/gpu: 'off'}}}}")
    await kubelet.wait_for(GPU, 1)
    await kubelet.admit("first", {GPU: 1})
    await plugin.registered(GPU)
    assert not plugin.lines("reset failed")
    assert not plugin.lines("reset skipped")


async def test_a_shared_gpu_is_never_reset(node: Node, kubelet: FakeKubelet) -> None:
    """Other containers may be using it; this is logged, and the container starts."""
    sharing = "{timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}"
    gpus = GpuNode(node, "single")
    gpus.driver.processes(0, (4711, GB, "python"))
    plugin = gpus.start(f"sharing: {sharing}\ndphub: {{reset: {{nvidia.com/gpu: reset}}}}")
    await kubelet.wait_for(GPU, 2)
    await kubelet.admit("first", {GPU: 1})
    line = await plugin.logged("reset skipped")
    assert line["reason"].endswith("it is shared (time-slicing): other containers may be using it")


async def test_a_fatal_xid_is_fixed_by_a_reset(node: Node, kubelet: FakeKubelet) -> None:
    """At the `reset` level the plugin resets an unused broken GPU on its own, and allocates it again."""
    gpus = GpuNode(node, "single")
    retry = "ResetRetryPolicy(interval=0.1, startup_delay=0)"
    quick = f"from plugins.gpu import GPU\nclass P(GPU):\n    reset_retry = {retry}\n"
    config = "dphub: {health: {interval: 0.2, stable_for: 0}, reset: {nvidia.com/gpu: reset}}"
    plugin = gpus.start(config, target=node.write_plugin(quick))
    await kubelet.wait_for(GPU, 1)
    gpus.driver.xid(0, 79)
    await kubelet.wait_for(GPU, 0)
    await kubelet.wait_for(GPU, 1)
    assert gpus.driver.value(0, "gpu_reset") == 1
    assert plugin.lines("devices recovered")
