"""An administrator or a script reports that a device cannot be used."""

import json
import time
from datetime import datetime

from hub.cli.adminclient import send
from hub.model.external import ReportRequest
from hub.testing.waiting import wait_until
from tests.harness.operated import GPU, STUB, OperatedNode, operated

_SOURCE = ("--source", "memory-test")


def _reasons(node: OperatedNode, plugin: str = "stub") -> list[str]:
    found = node.plugin(plugin)
    assert found
    return [each.reason for resource in found.report.resources for each in resource.devices if not each.healthy]


async def test_a_report_and_its_withdrawal(node: OperatedNode) -> None:
    """The device is unhealthy for the reason that was given, until the same source withdraws the report."""
    said = await node.dphub("report", "stub-1", *_SOURCE, "--reason", "row 7 is bad")
    assert (said.code, said.out) == (0, "stub-1: stored\n"), said
    await wait_until(lambda: _reasons(node) == ["reported by memory-test: row 7 is bad"], "the device to be unhealthy")
    said = await node.dphub("report", "stub-1", "--source", "other", "--withdraw")
    assert (said.code, said.out) == (0, "stub-1: there was no such report\n"), said
    said = await node.dphub("report", f"{STUB} stub-1", *_SOURCE, "--withdraw")
    assert (said.code, said.out) == (0, f"{STUB} stub-1: withdrawn\n"), said
    await wait_until(lambda: not _reasons(node), "the device to be healthy")


async def test_a_device_that_no_plugin_has(node: OperatedNode) -> None:
    """A typo is an error that suggests the device, and nothing is reported; a report can still be withdrawn."""
    said = await node.dphub("report", "stub-l", *_SOURCE, "--reason", "row 7 is bad")
    assert said.code == 2, said
    assert "there is no device stub-l; dphub devices lists the devices" in said.err
    assert "did you mean stub-" in said.err
    assert not list(node.run_dir.external_faults.glob("*.json"))
    await node.dphub("report", "stub-3", *_SOURCE, "--reason", "row 7 is bad")
    node.stub_faults(devices={STUB: 3})
    await node.kubelet.wait_for(STUB, 3)
    said = await node.dphub("report", f"{STUB} stub-3", *_SOURCE, "--withdraw")
    assert (said.code, "withdrawn" in said.out) == (0, True), said


async def test_a_report_that_expires(node: OperatedNode) -> None:
    """A report ends at the given time, or after the given duration; a time in the past is refused."""
    said = await node.dphub("report", "stub-1", *_SOURCE, "--reason", "x", "--until", "2020-01-01T00:00:00Z")
    assert (said.code, said.err) == (1, 'stub-1: "until" has passed\n'), said
    await node.dphub("report", "stub-1", *_SOURCE, "--reason", "x", "--for", "2h")
    (file,) = node.run_dir.external_faults.glob("*.json")
    left = datetime.fromisoformat(json.loads(file.read_text())["until"]).timestamp() - time.time()
    assert 7100 < left <= 7200
    said = await node.dphub("report", "stub-1", *_SOURCE, "--reason", "x", "--for", "1s")
    assert (said.code, said.out) == (0, "stub-1: stored, in place of the previous one\n"), said
    await wait_until(lambda: not _reasons(node), "the device to be healthy")


async def test_a_report_about_a_shared_device() -> None:
    """All its shares are unhealthy. It can be given by any of its names, both in the report and in its withdrawal."""
    shared = "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}"
    async with operated(gpus="pair", files={"gpu.yaml": shared}, wanted={GPU: 8}) as node:
        pci = node.gpus.gpus[1].pci
        said = await node.dphub("report", pci.removeprefix("0000:"), *_SOURCE, "--reason", "row 7 is bad")
        assert said.code == 0, said
        await node.kubelet.wait_for(GPU, 4)
        await wait_until(lambda: set(_reasons(node, "gpu")) == {"reported by memory-test: row 7 is bad"}, "the reason")
        said = await node.dphub("report", pci, *_SOURCE, "--withdraw")
        assert (said.code, said.out) == (0, f"{pci}: withdrawn\n"), said
        await node.kubelet.wait_for(GPU, 8)
        # This stands for a program that knows only the address.
        send(node.run_dir.external_socket, ReportRequest(pci, "memory-test", "row 7 is bad"))
        said = await node.dphub("report", pci, *_SOURCE, "--withdraw")
        assert (said.code, said.out) == (0, f"{pci}: withdrawn\n"), said
        assert not list(node.run_dir.external_faults.iterdir())


async def test_without_a_hub(node: OperatedNode) -> None:
    """The error says that no hub is running, or that the hub does not answer."""
    node.run_dir.external_socket.unlink()
    said = await node.dphub("report", "stub-1", *_SOURCE, "--reason", "x")
    assert said.code == 2, said
    assert f"the hub does not answer on {node.run_dir.external_socket}: No such file" in said.err
    await node.stop_hub()
    said = await node.dphub("report", "stub-1", *_SOURCE, "--reason", "x")
    assert (said.code, "no hub is running in" in said.err) == (2, True), said
