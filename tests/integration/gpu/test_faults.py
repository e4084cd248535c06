"""Whatever fails in the GPUs, the driver, the plugin or the kubelet: in the end the kubelet's list is correct."""

from hub.testing.kubelet import FakeKubelet
from tests.harness.node import Node, random_source
from tests.integration.gpu.gpu_faults import RandomFaults

SEQUENCES = 20
"""The benchmark runs a thousand."""


async def test_random_faults(node: Node, kubelet: FakeKubelet) -> None:
    """After each of many random sequences, every GPU is listed with its actual health, and nothing hangs."""
    faults = RandomFaults(node, kubelet, random_source())
    for _ in range(SEQUENCES):
        await faults.sequence()
