"""GPUs that break are noticed at once or at the next probe, with the reason, and are restored when healthy again."""

import pytest

from hub.model.plugin import DeviceStatus
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.gpu_support import GPU, GpuNode
from tests.harness.node import Node
from tests.simulators.nvml import NOT_SUPPORTED, UNKNOWN

QUICK = "dphub: {health: {interval: 0.1, stable_for: 0}}"
CALM = "dphub: {health: {interval: 1000, stable_for: 1000}}"
"""Settings with which no probe and no recovery happens during the test."""


async def _reported(plugin: PluginProcess, uuid: str, words: str) -> DeviceStatus:
    """Wait until a device's reason has these words, and return the device."""

    def reported() -> DeviceStatus | None:
        state = plugin.state()
        devices = [device for resource in state.resources for device in resource.devices] if state else []
        return next((device for device in devices if device.id == uuid and words in device.reason), None)

    return await wait_until(reported, words)


async def _start(gpus: GpuNode, kubelet: FakeKubelet, config: str = QUICK, **env: str) -> PluginProcess:
    plugin = gpus.start(config, **env)
    await kubelet.wait_for(GPU, len(gpus.driver.gpus))
    return plugin


async def test_an_xid_is_reported_at_once(node: Node, kubelet: FakeKubelet) -> None:
    """It is reported with its meaning, before any probe."""
    gpus = GpuNode(node)
    plugin = await _start(gpus, kubelet, CALM)
    gpus.driver.xid(3, 94)
    await kubelet.wait_for(GPU, 7)
    uuid = gpus.uuids()[3]
    assert [device.id for device in kubelet.devices(GPU) if not device.healthy] == [uuid]
    await _reported(plugin, uuid, "XID 94: memory error that affects one application only")
    line = plugin.lines("xid received")[0]
    assert (line["gpu"], line["code"], line["meaning"]) == (uuid, 94, "recover")


@pytest.mark.parametrize("code", [13, 31, 43, 45, 68, 109])
async def test_errors_of_applications_are_ignored(node: Node, kubelet: FakeKubelet, code: int) -> None:
    """They are logged, and the GPU stays healthy."""
    gpus = GpuNode(node, "pair")
    plugin = await _start(gpus, kubelet, CALM)
    gpus.driver.xid(0, code)
    gpus.driver.xid(1, 94)
    await kubelet.wait_for(GPU, 1)
    assert [line["meaning"] for line in plugin.lines("xid received")] == ["ignore", "recover"]
    assert [device.healthy for device in kubelet.devices(GPU)] == [True, False]


async def test_a_gpu_recovers(node: Node, kubelet: FakeKubelet) -> None:
    """It recovers after a probe that finds nothing wrong, and the recovery time."""
    gpus = GpuNode(node, "pair")
    plugin = await _start(gpus, kubelet, "dphub: {health: {interval: 0.1, stable_for: 2}}")
    gpus.driver.xid(0, 94)
    await kubelet.wait_for(GPU, 1)
    await _reported(plugin, gpus.uuids()[0], "recovering, waiting for 2 s without a fault")
    await kubelet.wait_for(GPU, 2)
    await plugin.logged("devices recovered")


async def test_a_gpu_with_a_fault_does_not_recover(node: Node, kubelet: FakeKubelet) -> None:
    """The XID counts until a probe finds the GPU healthy."""
    gpus = GpuNode(node, "pair")
    plugin = await _start(gpus, kubelet)
    gpus.driver.set(0, recovery=1)
    await _reported(plugin, gpus.uuids()[0], "recovery requires a reset of the GPU")
    gpus.driver.xid(0, 94)
    await _reported(plugin, gpus.uuids()[0], "XID 94")
    gpus.driver.repair(0)
    await kubelet.wait_for(GPU, 2)


async def test_a_fatal_xid_stays(node: Node, kubelet: FakeKubelet) -> None:
    """It stays even when the plugin is restarted, until an administrator uncordons it."""
    gpus = GpuNode(node, "pair")
    plugin = await _start(gpus, kubelet)
    gpus.driver.xid(0, 79)
    device = await _reported(plugin, gpus.uuids()[0], "XID 79: the GPU has fallen off the bus")
    assert device.source == "broken"
    await plugin.stop()
    plugin = gpus.start(QUICK)
    await plugin.registered(GPU)
    await _reported(plugin, gpus.uuids()[0], "XID 79")
    await kubelet.wait_for(GPU, 1)
    await plugin.stop()
    plugin.run_dir.health("gpu").unlink()
    await _start(gpus, kubelet)


async def test_the_table_decides(node: Node, kubelet: FakeKubelet) -> None:
    """The settings say what an XID means."""
    gpus = GpuNode(node)
    plugin = await _start(gpus, kubelet, "dphub: {health: {stable_for: 1000, xids: {ignore: [79], fatal: [13]}}}")
    gpus.driver.xid(0, 79)
    gpus.driver.xid(1, 13)
    await kubelet.wait_for(GPU, 7)
    assert [line["meaning"] for line in plugin.lines("xid received")] == ["ignore", "fatal"]
    assert [device.id for device in kubelet.devices(GPU) if not device.healthy] == [gpus.uuids()[1]]


async def test_health_checks_can_be_switched_off(node: Node, kubelet: FakeKubelet) -> None:
    """With NVIDIA's variable, neither XIDs nor probes count."""
    gpus = GpuNode(node, "pair")
    plugin = await _start(gpus, kubelet, QUICK, DP_DISABLE_HEALTHCHECKS="all")
    gpus.driver.xid(0, 79)
    gpus.driver.set(1, remap_failed=1)
    gpus.driver.unplug(0)
    await kubelet.wait_for(GPU, 1)
    assert [device.id for device in kubelet.devices(GPU) if device.healthy] == gpus.uuids()
    assert not plugin.lines("devices unhealthy")


async def test_every_replica_is_concerned(node: Node, kubelet: FakeKubelet) -> None:
    """All shares of the GPU are unhealthy, and none of another GPU."""
    gpus = GpuNode(node, "pair")
    config = f"sharing: {{timeSlicing: {{resources: [{{name: nvidia.com/gpu, replicas: 3}}]}}}}\n{CALM}"
    gpus.start(config)
    await kubelet.wait_for(GPU, 6)
    gpus.driver.xid(0, 94)
    await kubelet.wait_for(GPU, 3)
    gpus.driver.xid(1, 79)
    await kubelet.wait_for(GPU, 0)


async def test_mig_devices_are_concerned(node: Node, kubelet: FakeKubelet) -> None:
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
    """Another partitioning of the GPU does not make it healthy."""
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
    plugin = await _start(gpus, kubelet)
    gpus.driver.set(1, **values)
    await kubelet.wait_for(GPU, 1)
    await _reported(plugin, gpus.uuids()[1], words)
    gpus.driver.repair(1)
    await kubelet.wait_for(GPU, 2)


async def test_memory_errors(node: Node, kubelet: FakeKubelet) -> None:
    """New uncorrected errors count, earlier ones do not; the recovery time begins with the last one."""
    gpus = GpuNode(node, "pair")
    gpus.driver.set(0, ecc_volatile=7)
    plugin = await _start(gpus, kubelet, "dphub: {health: {interval: 0.1, stable_for: 0.3}}")
    gpus.driver.set(0, ecc_volatile=9)
    await kubelet.wait_for(GPU, 1)
    line = await plugin.logged("devices unhealthy")
    assert line["reason"] == "2 new uncorrectable memory errors (ECC)"
    await kubelet.wait_for(GPU, 2)


async def test_a_lost_gpu(node: Node, kubelet: FakeKubelet) -> None:
    """No event reports the loss, but it is noticed anyway; the other GPUs can be allocated in the meantime."""
    gpus = GpuNode(node)
    plugin = await _start(gpus, kubelet)
    gpus.driver.lose(5)
    await kubelet.wait_for(GPU, 7)
    await _reported(plugin, gpus.uuids()[5], "the GPU is lost")
    await kubelet.admit("others", {GPU: 7})
    gpus.driver.repair(5)
    await kubelet.wait_for(GPU, 8)


async def test_a_handle_that_fails(node: Node, kubelet: FakeKubelet) -> None:
    """The reason has the call and the driver's error."""
    gpus = GpuNode(node, "pair")
    plugin = await _start(gpus, kubelet)
    gpus.driver.gpus[0].failures["nvmlDeviceGetName"] = UNKNOWN
    gpus.driver.apply()
    await kubelet.wait_for(GPU, 1)
    await _reported(plugin, gpus.uuids()[0], "the GPU does not answer (nvmlDeviceGetName: ")


async def test_a_device_file_that_is_gone(node: Node, kubelet: FakeKubelet) -> None:
    """The GPU cannot be given to a container; the missing file is noticed before the next probe."""
    gpus = GpuNode(node, "pair")
    plugin = await _start(gpus, kubelet, "dphub: {health: {interval: 1000, stable_for: 0}}")
    gpus.driver.gpus[0].node = False
    gpus.driver.apply()
    await kubelet.wait_for(GPU, 1)
    await _reported(plugin, gpus.uuids()[0], "its device file is missing: /dev/nvidia1")
    gpus.driver.repair(0)
    await kubelet.wait_for(GPU, 2)


async def test_unmonitored_gpus_are_not_healthy(node: Node, kubelet: FakeKubelet) -> None:
    """A GPU whose XIDs cannot be received reports that; it is healthy once they can be."""
    gpus = GpuNode(node, "pair")
    gpus.driver.gpus[0].failures["nvmlDeviceRegisterEvents"] = UNKNOWN
    gpus.driver.apply()
    plugin = gpus.start(QUICK)
    await kubelet.wait_for(GPU, 1)
    await _reported(plugin, gpus.uuids()[0], "its errors (XIDs) cannot be monitored: nvmlDeviceRegisterEvents")
    gpus.driver.repair(0)
    await kubelet.wait_for(GPU, 2)
    gpus.driver.xid(0, 79)
    await kubelet.wait_for(GPU, 1)


async def test_listening_that_breaks_starts_again(node: Node, kubelet: FakeKubelet) -> None:
    """While XIDs cannot be received no GPU is healthy; they are received again afterwards."""
    gpus = GpuNode(node, "pair")
    plugin = await _start(gpus, kubelet)
    gpus.driver.fail("nvmlEventSetWait_v2", UNKNOWN)
    await _reported(plugin, gpus.uuids()[1], "its errors (XIDs) cannot be monitored: nvmlEventSetWait_v2: ")
    await kubelet.wait_for(GPU, 0)
    gpus.driver.clear_faults()
    await kubelet.wait_for(GPU, 2)
    assert [line["active"] for line in plugin.lines("xid monitoring changed")] == [False, True]
    gpus.driver.xid(0, 79)
    await kubelet.wait_for(GPU, 1)


async def test_cards_without_xid_reports(node: Node, kubelet: FakeKubelet) -> None:
    """What a card does not support is not a fault."""
    gpus = GpuNode(node, "pair")
    for name in ("GetTotalEccErrors", "GetRemappedRows", "GetFieldValues", "GetMigMode", "GetNvLinkState"):
        gpus.driver.gpus[0].failures[f"nvmlDevice{name}"] = NOT_SUPPORTED
    gpus.driver.apply()
    await _start(gpus, kubelet)


@pytest.mark.parametrize("profile", ["noevents2", "vgpu"])
async def test_cards_that_report_no_errors(node: Node, kubelet: FakeKubelet, profile: str) -> None:
    """They are healthy, and this is logged; probes monitor them."""
    gpus = GpuNode(node, profile)
    plugin = await _start(gpus, kubelet)
    state = await plugin.resource_until(lambda state: bool(state.devices), GPU)
    assert {device.attributes["XIDs"] for device in state.devices} == {"not reported, only probes find its errors"}
    gpus.driver.gpus[0].failures["nvmlDeviceGetName"] = UNKNOWN
    gpus.driver.apply()
    await kubelet.wait_for(GPU, len(gpus.driver.gpus) - 1)
    await _reported(plugin, gpus.uuids()[0], "the GPU does not answer")


async def test_a_finding(node: Node, kubelet: FakeKubelet) -> None:
    """It is a warning at once, makes the GPU unhealthy if it lasts and settings say so, and ends with its cause."""
    gpus = GpuNode(node, "pair")
    config = "dphub: {health: {interval: 0.1, stable_for: 0, findings: {unhealthy_after: 0.5}}}"
    plugin = await _start(gpus, kubelet, config)
    gpus.driver.set(0, pcie_width=8, pcie_max=16)
    gpus.driver.set(1, fabric=2)
    await kubelet.wait_for(GPU, 1)
    await _reported(plugin, gpus.uuids()[1], "the registration with the NVLink fabric is in progress")
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
    plugin = await _start(gpus, kubelet)
    for _ in range(3):
        gpus.driver.xid(0, 94)
        await kubelet.wait_for(GPU, 1)
        await kubelet.wait_for(GPU, 2)
    gpus.driver.xid(0, 94)
    await _reported(plugin, gpus.uuids()[0], "recovered 3 times within 3600 s")
