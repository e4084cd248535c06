"""A node with GPUs and HCAs, and which of them containers get together."""

import json
import random
from collections import Counter

from hub.testing.kubelet import FakeKubelet
from hub.testing.kubelet.model import Pod
from tests.harness.gpu_support import GPU, GpuNode
from tests.harness.node import Node
from tests.simulators.rdma.tree import hcas_near_gpus

HCA = "rdma/hca"


class GpuIbNode:
    """A node with eight GPUs and eight HCAs, two of each on a PCIe switch, and both plugins.

    Args:
        node: The node on which the plugins run.
        near: Whether the IB plugin prefers HCAs near the allocated GPUs.
    """

    def __init__(self, node: Node, *, near: bool) -> None:
        self.gpus = GpuNode(node, "switch8")
        tree = hcas_near_gpus(self.gpus.root, self.gpus.driver.gpus)
        self.switch_of = {gpu.uuid: gpu.switch for gpu in self.gpus.driver.gpus}
        self.switch_of |= {tree.pci(f"mlx5_{n}"): gpu.switch for n, gpu in enumerate(self.gpus.driver.gpus)}
        pool = {"resourceName": "hca", "mode": "hca", "nearGpus": near, "selectors": {"vendors": ["15b3"]}}
        self.gpus.start()
        env = {"DPHUB_HOST_ROOT": str(self.gpus.root)}
        node.start_plugin("plugins.ib:IB", name="ib", config=json.dumps({"configList": [pool]}), env=env)

    def switches(self, pod: Pod, resource: str) -> Counter[int]:
        """Return the PCIe switches of a pod's devices of a resource."""
        response = pod.containers["main"].response
        name = "NVIDIA_VISIBLE_DEVICES" if resource == GPU else "PCIDEVICE_RDMA_HCA"
        return Counter(self.switch_of[device] for device in response.envs[name].split(","))


async def count_close_hcas(pair: GpuIbNode, kubelet: FakeKubelet, rng: random.Random, count: int) -> tuple[int, int]:
    """Admit this number of pods, and remove some at random.

    Returns:
        How often HCAs on the GPUs' own switches were free, and how often they were allocated.
    """
    await kubelet.wait_for(GPU, 8)
    await kubelet.wait_for(HCA, 8)
    held: dict[str, Counter[int]] = {}
    possible = got = 0
    for turn in range(count):
        size = rng.choice([1, 2, 4])
        used = sum(total.total() for total in held.values())
        while held and (used + size > 8 or rng.random() < 0.4):
            name = rng.choice(list(held))
            used -= held.pop(name).total()
            await kubelet.remove(name)
        pod = await kubelet.admit(f"pod{turn}", {GPU: size, HCA: size})
        gpus, hcas = pair.switches(pod, GPU), pair.switches(pod, HCA)
        free = Counter(dict.fromkeys(range(4), 2))
        for other in held.values():
            free.subtract(other)
        held[f"pod{turn}"] = hcas
        if gpus <= free:
            possible += 1
            got += gpus == hcas
    return possible, got
