"""GPUs and HCAs for one container: on the same PCIe switches, where that is possible."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from gpu_support import GPU, GpuNode
from support import Node, chance

from hub.kubelet.fake import FakeKubelet
from hub.kubelet.fake.model import Pod

sys.path.append(str(Path(__file__).parents[1] / "ib"))

from rdma_tree import beside_gpus

HCA = "rdma/hca"
SEQUENCES = 40


class Rack:
    """A node with eight GPUs and eight HCAs, two of each on a PCIe switch, and both plugins.

    Args:
        node: Where.
        near: Whether the IB plugin looks at the GPUs that were given.
    """

    def __init__(self, node: Node, *, near: bool) -> None:
        self.gpus = GpuNode(node, "switch8")
        tree = beside_gpus(self.gpus.root, self.gpus.driver.gpus)
        self.switch_of = {gpu.uuid: gpu.switch for gpu in self.gpus.driver.gpus}
        self.switch_of |= {tree.pci(f"mlx5_{n}"): gpu.switch for n, gpu in enumerate(self.gpus.driver.gpus)}
        pool = {"resourceName": "hca", "mode": "hca", "nearGpus": near, "selectors": {"vendors": ["15b3"]}}
        self.gpus.start()
        env = {"DPHUB_HOST_ROOT": str(self.gpus.root)}
        node.spawn("plugins.ib:IB", name="ib", config=json.dumps({"configList": [pool]}), env=env)

    def switches(self, pod: Pod, resource: str) -> Counter[int]:
        """The switches of a pod's devices of a resource."""
        response = pod.containers["main"].response
        name = "NVIDIA_VISIBLE_DEVICES" if resource == GPU else "PCIDEVICE_RDMA_HCA"
        return Counter(self.switch_of[device] for device in response.envs[name].split(","))


async def _close(rack: Rack, kubelet: FakeKubelet) -> tuple[int, int]:
    """Admit and remove pods at random; how often HCAs on the GPUs' switches could be had, and how often they were."""
    random = chance()
    await kubelet.wait_for(GPU, 8)
    await kubelet.wait_for(HCA, 8)
    held: dict[str, Counter[int]] = {}
    possible = got = 0
    for turn in range(SEQUENCES):
        count = random.choice([1, 2, 4])
        used = sum(total.total() for total in held.values())
        while held and (used + count > 8 or random.random() < 0.4):
            name = random.choice(list(held))
            used -= held.pop(name).total()
            await kubelet.remove(name)
        pod = await kubelet.admit(f"pod{turn}", {GPU: count, HCA: count})
        gpus, hcas = rack.switches(pod, GPU), rack.switches(pod, HCA)
        free = Counter(dict.fromkeys(range(4), 2))
        for other in held.values():
            free.subtract(other)
        held[f"pod{turn}"] = hcas
        if gpus <= free:
            possible += 1
            got += gpus == hcas
    return possible, got


async def test_hcas_on_the_switches_of_the_gpus(node: Node, kubelet: FakeKubelet) -> None:
    """Whenever the GPUs' own switches have free HCAs, the container gets those."""
    possible, got = await _close(Rack(node, near=True), kubelet)
    assert possible > SEQUENCES // 2
    assert got == possible


@pytest.mark.parametrize("near", [True, False])
async def test_a_hint_is_no_more_than_that(node: Node, kubelet: FakeKubelet, *, near: bool) -> None:
    """Where no HCA is close, or nobody is to look, a container gets others; and those without GPUs are served too."""
    rack = Rack(node, near=near)
    await kubelet.wait_for(GPU, 8)
    await kubelet.wait_for(HCA, 8)
    await kubelet.admit("network", {HCA: 6})
    pod = await kubelet.admit("both", {GPU: 2, HCA: 2})
    assert rack.switches(pod, HCA).total() == 2
