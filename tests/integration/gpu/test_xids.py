"""Errors that the driver reports (XIDs): what each means for a GPU, and GPUs whose errors are not reported."""

import pytest

from hub.testing.kubelet import FakeKubelet
from tests.harness.gpu_support import GPU, GpuNode
from tests.harness.node import Node
from tests.integration.gpu.gpu_health import CALM, QUICK, start, until_reported
from tests.simulators.nvml import NOT_SUPPORTED, UNKNOWN


async def test_an_xid_is_reported_at_once(node: Node, kubelet: FakeKubelet) -> None:
    """An XID is reported with its meaning, before any probe."""
    gpus = GpuNode(node)
    plugin = await start(gpus, kubelet, CALM)
    gpus.driver.xid(3, 94)
    await kubelet.wait_for(GPU, 7)
    uuid = gpus.uuids()[3]
    assert [device.id for device in kubelet.devices(GPU) if not device.healthy] == [uuid]
    await until_reported(plugin, uuid, "XID 94: memory error that affects one application only")
    line = plugin.lines("xid received")[0]
    assert (line["gpu"], line["code"], line["meaning"]) == (uuid, 94, "recover")


@pytest.mark.parametrize("code", [13, 31, 43, 45, 68, 109])
async def test_errors_of_applications_are_ignored(node: Node, kubelet: FakeKubelet, code: int) -> None:
    """These errors are logged, and the GPU stays healthy."""
    gpus = GpuNode(node, "pair")
    plugin = await start(gpus, kubelet, CALM)
    gpus.driver.xid(0, code)
    gpus.driver.xid(1, 94)
    await kubelet.wait_for(GPU, 1)
    assert [line["meaning"] for line in plugin.lines("xid received")] == ["ignore", "recover"]
    assert [device.healthy for device in kubelet.devices(GPU)] == [True, False]


async def test_a_gpu_with_a_fault_does_not_recover(node: Node, kubelet: FakeKubelet) -> None:
    """The XID stays in effect until a probe finds the GPU healthy."""
    gpus = GpuNode(node, "pair")
    plugin = await start(gpus, kubelet)
    gpus.driver.set(0, recovery=1)
    await until_reported(plugin, gpus.uuids()[0], "recovery requires a reset of the GPU")
    gpus.driver.xid(0, 94)
    await until_reported(plugin, gpus.uuids()[0], "XID 94")
    gpus.driver.repair(0)
    await kubelet.wait_for(GPU, 2)


async def test_a_fatal_xid_stays(node: Node, kubelet: FakeKubelet) -> None:
    """The GPU stays unhealthy, even after a restart of the plugin, until an administrator uncordons it."""
    gpus = GpuNode(node, "pair")
    plugin = await start(gpus, kubelet)
    gpus.driver.xid(0, 79)
    device = await until_reported(plugin, gpus.uuids()[0], "XID 79: the GPU has fallen off the bus")
    assert device.source == "broken"
    await plugin.stop()
    plugin = gpus.start(QUICK)
    await plugin.registered(GPU)
    await until_reported(plugin, gpus.uuids()[0], "XID 79")
    await kubelet.wait_for(GPU, 1)
    await plugin.stop()
    plugin.run_dir.health("gpu").unlink()
    await start(gpus, kubelet)


async def test_the_table_decides(node: Node, kubelet: FakeKubelet) -> None:
    """The settings say what an XID means."""
    gpus = GpuNode(node)
    plugin = await start(gpus, kubelet, "dphub: {health: {stable_for: 1000, xids: {ignore: [79], fatal: [13]}}}")
    gpus.driver.xid(0, 79)
    gpus.driver.xid(1, 13)
    await kubelet.wait_for(GPU, 7)
    assert [line["meaning"] for line in plugin.lines("xid received")] == ["ignore", "fatal"]
    assert [device.id for device in kubelet.devices(GPU) if not device.healthy] == [gpus.uuids()[1]]


async def test_health_checks_can_be_switched_off(node: Node, kubelet: FakeKubelet) -> None:
    """With NVIDIA's variable, neither XIDs nor probes are taken into account."""
    gpus = GpuNode(node, "pair")
    plugin = await start(gpus, kubelet, QUICK, DP_DISABLE_HEALTHCHECKS="all")
    gpus.driver.xid(0, 79)
    gpus.driver.set(1, remap_failed=1)
    gpus.driver.unplug(0)
    await kubelet.wait_for(GPU, 1)
    assert [device.id for device in kubelet.devices(GPU) if device.healthy] == gpus.uuids()
    assert not plugin.lines("devices unhealthy")


async def test_unmonitored_gpus_are_not_healthy(node: Node, kubelet: FakeKubelet) -> None:
    """A GPU whose XIDs cannot be received reports that; it is healthy once they can be."""
    gpus = GpuNode(node, "pair")
    gpus.driver.gpus[0].failures["nvmlDeviceRegisterEvents"] = UNKNOWN
    gpus.driver.apply()
    plugin = gpus.start(QUICK)
    await kubelet.wait_for(GPU, 1)
    await until_reported(plugin, gpus.uuids()[0], "its errors (XIDs) cannot be monitored: nvmlDeviceRegisterEvents")
    gpus.driver.repair(0)
    await kubelet.wait_for(GPU, 2)
    gpus.driver.xid(0, 79)
    await kubelet.wait_for(GPU, 1)


async def test_listening_that_breaks_starts_again(node: Node, kubelet: FakeKubelet) -> None:
    """While XIDs cannot be received, no GPU is healthy; they are received again afterwards."""
    gpus = GpuNode(node, "pair")
    plugin = await start(gpus, kubelet)
    gpus.driver.fail("nvmlEventSetWait_v2", UNKNOWN)
    await until_reported(plugin, gpus.uuids()[1], "its errors (XIDs) cannot be monitored: nvmlEventSetWait_v2: ")
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
    await start(gpus, kubelet)


@pytest.mark.parametrize("profile", ["noevents2", "vgpu"])
async def test_cards_that_report_no_errors(node: Node, kubelet: FakeKubelet, profile: str) -> None:
    """These cards are healthy; probes monitor them, and this is logged."""
    gpus = GpuNode(node, profile)
    plugin = await start(gpus, kubelet)
    state = await plugin.resource_until(lambda state: bool(state.devices), GPU)
    assert {device.attributes["XIDs"] for device in state.devices} == {"not reported; only probes find its errors"}
    gpus.driver.gpus[0].failures["nvmlDeviceGetName"] = UNKNOWN
    gpus.driver.apply()
    await kubelet.wait_for(GPU, len(gpus.driver.gpus) - 1)
    await until_reported(plugin, gpus.uuids()[0], "the GPU does not answer")
