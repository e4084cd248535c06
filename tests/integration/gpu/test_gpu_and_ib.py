"""GPUs and HCAs for one container: on the same PCIe switches, where that is possible."""

import pytest

from hub.testing.kubelet import FakeKubelet
from tests.harness.gpu_support import GPU
from tests.harness.node import Node, random_source
from tests.integration.gpu.gpu_ib_node import HCA, GpuIbNode, count_close_hcas

PODS = 40
"""The benchmark admits 200."""


@pytest.mark.fake_kubelet("a real kubelet may ask for the HCAs before the GPUs")
async def test_hcas_on_the_switches_of_the_gpus(node: Node, kubelet: FakeKubelet) -> None:
    """Whenever the GPUs' own switches have free HCAs, the container gets those."""
    possible, got = await count_close_hcas(GpuIbNode(node, near=True), kubelet, random_source(), PODS)
    assert possible > PODS // 2
    assert got == possible


@pytest.mark.parametrize("near", [True, False])
async def test_a_hint_is_only_a_preference(node: Node, kubelet: FakeKubelet, *, near: bool) -> None:
    """If no HCA is close, or `nearGpus` is off, a container gets other HCAs; containers without GPUs get HCAs, too."""
    pair = GpuIbNode(node, near=near)
    await kubelet.wait_for(GPU, 8)
    await kubelet.wait_for(HCA, 8)
    await kubelet.admit("network", {HCA: 6})
    pod = await kubelet.admit("both", {GPU: 2, HCA: 2})
    assert pair.switches(pod, HCA).total() == 2
