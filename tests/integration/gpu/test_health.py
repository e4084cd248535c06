"""GPUs that break are noticed at the next probe, with the reason, and are restored when healthy again."""

import pytest

from hub.testing.kubelet import FakeKubelet
from tests.harness.gpu_support import GPU, GpuNode
from tests.harness.node import Node
from tests.integration.gpu.gpu_health import CALM, QUICK, start, until_reported
from tests.simulators.nvml import UNKNOWN


async def test_a_gpu_recovers(node: Node, kubelet: FakeKubelet) -> None:
    """A GPU is healthy again once a probe has found nothing wrong and the recovery time is over."""
    gpus = GpuNode(node, "pair")
    plugin = await start(gpus, kubelet, "dphub: {health: {interval: 0.1, stable_for: 2}}")
    gpus.driver.xid(0, 94)
    await kubelet.wait_for(GPU, 1)
    await until_reported(plugin, gpus.uuids()[0], "recovering, waiting for 2 s without a fault")
    await kubelet.wait_for(GPU, 2)
    await plugin.logged("devices recovered")


async def test_every_replica_is_affected(node: Node, kubelet: FakeKubelet) -> None:
    """All shares of the GPU are unhealthy, and no share of another GPU is."""
    gpus = GpuNode(node, "pair")
    config = f"sharing: {{timeSlicing: {{resources: [{{name: nvidia.com/gpu, replicas: 3}}]}}}}\n{CALM}"
    gpus.start(config)
    await kubelet.wait_for(GPU, 6)
    gpus.driver.xid(0, 94)
    await kubelet.wait_for(GPU, 3)
    gpus.driver.xid(1, 79)
    await kubelet.wait_for(GPU, 0)


async def test_mig_devices_are_affected(node: Node, kubelet: FakeKubelet) -> None:
    """All MIG devices of a GPU are unhealthy, or only the one that the report names."""
    gpus = GpuNode(node, "a100x2", "1g")
    plugin = gpus.start(f"flags: {{migStrategy: mixed}}\n{CALM}")
    small = "nvidia.com/mig-1g.5gb"
    await kubelet.wait_for(small, 14)
    gpus.driver.xid(0, 94, gi=8, ci=0)
    await kubelet.wait_for(small, 13)
    mig = gpus.driver.gpus[0].migs[1]
    assert [device.id for device in kubelet.devices(small) if not device.healthy] == [mig.uuid]
    assert plugin.lines("xid received")[0]["mig"] == mig.uuid
    gpus.driver.xid(0, 94, gi=9)
    await kubelet.wait_for(small, 12)
    gpus.driver.xid(1, 79)
    await kubelet.wait_for(small, 5)


async def test_a_new_mig_device_of_a_broken_gpu(node: Node, kubelet: FakeKubelet) -> None:
    """Partitioning the GPU differently does not make it healthy."""
    gpus = GpuNode(node, "a100x2", {1: "1g"})
    gpus.start(f"flags: {{migStrategy: mixed}}\n{QUICK}")
    await kubelet.wait_for("nvidia.com/mig-1g.5gb", 7)
    gpus.driver.xid(1, 79)
    await kubelet.wait_for("nvidia.com/mig-1g.5gb", 0)
    gpus.driver.divide(1, "mixed")
    await kubelet.wait_until(lambda kubelet: len(kubelet.devices("nvidia.com/mig-3g.20gb")) == 1)
    await kubelet.wait_for("nvidia.com/mig-3g.20gb", 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"remap_failed": 1}, "row remapping failed"),
        ({"recovery": 2}, "recovery requires a reboot of the node"),
        ({"recovery": 4}, "draining its work and resetting it"),
        ({"recovery": 99}, "what NVML calls action 99"),
    ],
)
async def test_what_a_probe_finds(node: Node, kubelet: FakeKubelet, values: dict[str, int], words: str) -> None:
    """The GPU is unhealthy for as long as the driver says so."""
    gpus = GpuNode(node, "pair")
    plugin = await start(gpus, kubelet)
    gpus.driver.set(1, **values)
    await kubelet.wait_for(GPU, 1)
    await until_reported(plugin, gpus.uuids()[1], words)
    gpus.driver.repair(1)
    await kubelet.wait_for(GPU, 2)


async def test_memory_errors(node: Node, kubelet: FakeKubelet) -> None:
    """New uncorrected errors count, earlier ones do not; the recovery time begins with the last one."""
    gpus = GpuNode(node, "pair")
    gpus.driver.set(0, ecc_volatile=7)
    plugin = await start(gpus, kubelet, "dphub: {health: {interval: 0.1, stable_for: 0.3}}")
    gpus.driver.set(0, ecc_volatile=9)
    await kubelet.wait_for(GPU, 1)
    line = await plugin.logged("devices unhealthy")
    assert line["reason"] == "2 new uncorrectable memory errors (ECC)"
    await kubelet.wait_for(GPU, 2)


async def test_a_lost_gpu(node: Node, kubelet: FakeKubelet) -> None:
    """No event reports the loss, but it is noticed anyway; the other GPUs can be allocated in the meantime."""
    gpus = GpuNode(node)
    plugin = await start(gpus, kubelet)
    gpus.driver.lose(5)
    await kubelet.wait_for(GPU, 7)
    await until_reported(plugin, gpus.uuids()[5], "the GPU is lost")
    await kubelet.admit("others", {GPU: 7})
    gpus.driver.repair(5)
    await kubelet.wait_for(GPU, 8)


async def test_a_handle_that_fails(node: Node, kubelet: FakeKubelet) -> None:
    """The reason names the call and the driver's error."""
    gpus = GpuNode(node, "pair")
    plugin = await start(gpus, kubelet)
    gpus.driver.gpus[0].failures["nvmlDeviceGetName"] = UNKNOWN
    gpus.driver.apply()
    await kubelet.wait_for(GPU, 1)
    await until_reported(plugin, gpus.uuids()[0], "the GPU does not answer (nvmlDeviceGetName: ")


async def test_a_device_file_that_is_gone(node: Node, kubelet: FakeKubelet) -> None:
    """The GPU cannot be given to a container; the missing file is noticed before the next probe."""
    gpus = GpuNode(node, "pair")
    plugin = await start(gpus, kubelet, "dphub: {health: {interval: 1000, stable_for: 0}}")
    gpus.driver.gpus[0].node = False
    gpus.driver.apply()
    await kubelet.wait_for(GPU, 1)
    await until_reported(plugin, gpus.uuids()[0], "its device file is missing: /dev/nvidia1")
    gpus.driver.repair(0)
    await kubelet.wait_for(GPU, 2)


async def test_a_finding(node: Node, kubelet: FakeKubelet) -> None:
    """A finding warns at once, makes the GPU unhealthy if it lasts and the settings say so, and ends with its cause."""
    gpus = GpuNode(node, "pair")
    config = "dphub: {health: {interval: 0.1, stable_for: 0, findings: {unhealthy_after: 0.5}}}"
    plugin = await start(gpus, kubelet, config)
    gpus.driver.set(0, pcie_width=8, pcie_max=16)
    gpus.driver.set(1, fabric=2)
    await kubelet.wait_for(GPU, 1)
    await until_reported(plugin, gpus.uuids()[1], "the registration with the NVLink fabric is in progress")
    state = await plugin.resource_until(lambda state: bool(state.warnings), GPU)
    assert state.warnings == (f"{gpus.uuids()[0]}: its PCIe link has only 8 of 16 lanes",)
    raised = [line["reason"] for line in plugin.lines("device warning raised")]
    assert f"{gpus.uuids()[1]}: the registration with the NVLink fabric is in progress" in raised
    gpus.driver.repair(0)
    gpus.driver.repair(1)
    await kubelet.wait_for(GPU, 2)
    await plugin.resource_until(lambda state: not state.warnings, GPU)


async def test_flapping(node: Node, kubelet: FakeKubelet) -> None:
    """A GPU that recovers again and again waits for an administrator."""
    gpus = GpuNode(node, "pair")
    plugin = await start(gpus, kubelet)
    for _ in range(3):
        gpus.driver.xid(0, 94)
        await kubelet.wait_for(GPU, 1)
        await kubelet.wait_for(GPU, 2)
    gpus.driver.xid(0, 94)
    await until_reported(plugin, gpus.uuids()[0], "recovered 3 times within 3600 s")
