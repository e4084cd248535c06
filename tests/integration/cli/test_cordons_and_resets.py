"""What an administrator does with single devices: cordons and resets."""

import asyncio
import os
import signal

import pytest

from hub.model.node import NodeStatus
from hub.model.plugin import DeviceStatus
from hub.testing.kubelet import AdmissionError
from hub.testing.waiting import wait_until
from tests.harness.operated import GPU, HCA, STUB, OperatedNode, operated


def _device(status: NodeStatus, name: str) -> DeviceStatus:
    found = [device for plugin in status.plugins for each in plugin.report.resources for device in each.devices]
    return next(device for device in found if name in {device.id, *device.pci})


def _stub(node: OperatedNode, number: int) -> DeviceStatus:
    status = node.status()
    assert status
    return _device(status, f"stub-{number}")


async def test_a_cordon_persists(node: OperatedNode) -> None:
    """A cordoned device stays with its container and goes to no other; only uncordon ends that, not a restart."""
    await node.kubelet.admit("early", {STUB: 4})
    said = await node.dphub("cordon", "stub-1", "--reason", "fan is loud")
    assert (said.code, "default/early/main keeps it" in said.out) == (0, True), said
    await node.kubelet.wait_for(STUB, 3)
    assert _stub(node, 1).reason == "cordoned: fan is loud"
    assert (await node.dphub("status")).code == 0
    await node.kubelet.remove("early")
    with pytest.raises(AdmissionError):
        await node.kubelet.admit("greedy", {STUB: 4})
    await node.dphub("restart", "stub")
    assert _stub(node, 1).source == "cordon"
    stub = node.plugin("stub")
    assert stub
    os.kill(stub.process.pid, signal.SIGKILL)
    await node.status_until(
        lambda status: status.plugins[2].process.pid not in {0, stub.process.pid} and status.ready, "it is back"
    )
    assert _stub(node, 1).source == "cordon"
    await node.stop_hub()
    await node.start_hub()
    await node.without_problems()
    await wait_until(lambda: node.plugin("stub"), "the stub")
    assert _stub(node, 1).source == "cordon"
    assert await node.metric("dphub_devices_cordoned", plugin="stub") == 1
    said = await node.dphub("uncordon", "stub-1")
    assert (said.code, "is uncordoned (was: cordoned: fan is loud)" in said.out) == (0, True), said
    assert _stub(node, 1).healthy
    await node.kubelet.wait_for(STUB, 4)


async def test_a_cordoned_device_that_is_gone(node: OperatedNode) -> None:
    """The device can still be uncordoned by its name."""
    await node.dphub("cordon", "stub-3")
    node.stub_faults(devices={STUB: 3})
    await node.kubelet.wait_for(STUB, 3)
    said = await node.dphub("uncordon", "stub-3")
    assert said.code == 0, said
    node.stub_faults()
    await node.kubelet.wait_for(STUB, 4)


async def test_a_cordon_takes_all_shares() -> None:
    """A shared GPU is cordoned as a whole, by its PCI address."""
    shared = "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}"
    async with operated(gpus="pair", files={"gpu.yaml": shared}, wanted={GPU: 8}) as node:
        said = await node.dphub("cordon", node.gpus.gpus[1].pci)
        assert (said.code, f"is cordoned (4 devices of {GPU})" in said.out) == (0, True), said
        await node.kubelet.wait_for(GPU, 4)


async def test_reset(node: OperatedNode) -> None:
    """A free device is reset by the plugin's own reset; one in use is not reset, and its container is named."""
    pod = await node.kubelet.admit("trainer", {STUB: 1})
    (held,) = pod.containers["main"].devices[STUB]
    said = await node.dphub("reset", held)
    assert (said.code, "was not reset: default/trainer/main is using it" in said.err) == (1, True), said
    free = next(name for name in ("stub-0", "stub-1") if name != held)
    said = await node.dphub("reset", free)
    assert (said.code, f"{STUB} {free} was reset in " in said.out) == (0, True), said
    node.stub_faults(reset={free: {"do": "fail", "text": "it smokes"}})
    said = await node.dphub("reset", free)
    assert (said.code, "it smokes" in said.err) == (1, True), said
    said = await node.dphub("status", "stub", width=200)
    assert "it smokes" in said.out
    said = await node.dphub("reset", node.hcas.pci("mlx5_0"))
    assert (said.code, f"resets of {HCA} are not configured" in said.err) == (1, True), said
    assert _stub(node, int(free[-1])).healthy


async def test_no_container_gets_a_device_while_it_is_reset(node: OperatedNode) -> None:
    """The kubelet does not allocate it from the check of which container has it until the end of the reset."""
    node.stub_faults(reset={"stub-0": {"seconds": 1}})
    reset = node.dphub("reset", "stub-0")
    said, _ = await asyncio.gather(reset, node.kubelet.wait_for(STUB, 3))
    assert said.code == 0, said
    await node.kubelet.wait_for(STUB, 4)
