"""A real GPU through a claim; skipped where no NVIDIA driver is loaded."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.claimnode import ClaimNode, claim_node

pytestmark = [
    pytest.mark.hardware,
    pytest.mark.skipif(not Path("/proc/driver/nvidia/version").exists(), reason="no NVIDIA driver is loaded"),
]

GPU = "nvidia.com/gpu"


@pytest.fixture
async def node() -> AsyncIterator[ClaimNode]:
    """Run a node without plugins, whose file system is the machine's own."""
    async with claim_node() as node:
        node.root = Path("/")
        yield node


def _is_pci(address: str) -> bool:
    return Path(f"/sys/bus/pci/devices/{address}").exists()


async def test_a_real_gpu_is_given_by_a_claim(node: ClaimNode) -> None:
    """The GPU is published with its location and model, and a pod gets its variable and its device file."""
    config = "{version: v1, flags: {plugin: {passDeviceSpecs: true}}, dphub: {health: {interval: 1}}}"
    plugin = node.start_driver("plugins.gpu:GPU", "gpu", config=config)
    devices = await node.published("gpu", 1)
    (device,) = devices.values()
    attributes = device["attributes"]
    assert attributes["id"]["string"].startswith("GPU-")
    assert "NVIDIA" in attributes["model"]["string"]
    assert _is_pci(attributes["resource.kubernetes.io/pciBusID"]["string"])
    pod, given = await node.run("gpu", GPU, "one")
    assert given.env["NVIDIA_VISIBLE_DEVICES"] == attributes["id"]["string"]
    assert any(each.startswith("/dev/nvidia") and each[-1].isdigit() for each in given.nodes)
    await node.end(pod)
    assert node.cdi_files == []
    assert plugin.process.poll() is None
