"""Problems that no plugin has caused, and that an administrator still has to find."""

import os
import signal

import pytest

from hub.model.node import NodeStatus, Problem, Severity
from hub.testing.kubelet import AdmissionError, Capacity
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.operated import GPU, HCA, STUB, OperatedNode, operated


def _about(status: NodeStatus, words: str) -> Problem | None:
    return next((problem for problem in status.problems if words in problem.message), None)


async def _noticed(node: OperatedNode, words: str) -> Problem:
    """Wait for the problem whose message contains these words."""
    status = await node.status_until(lambda status: _about(status, words) is not None, words)
    problem = _about(status, words)
    assert problem
    return problem


async def test_a_device_that_is_removed_while_a_container_uses_it(node: OperatedNode) -> None:
    """The pod has lost the device: the status names the container, and the log says which devices are gone.

    The node's capacity counts it as long as the pod exists.
    """
    before = node.kubelet.capacity()[HCA].capacity
    pod = await node.kubelet.admit("trainer", {HCA: 1})
    (held,) = pod.containers["main"].devices[HCA]
    name = next(hca for hca in node.hcas.names if node.hcas.pci(hca) == held)
    node.hcas.remove(name)
    found = await _noticed(node, f"{HCA}: removed, but still in use: {held} by default/trainer/main")
    assert (found.severity, found.about) == (Severity.WARNING, "ib")
    said = await node.dphub("logs", "ib", "-n", "0")
    assert "devices removed" in said.out
    assert held in said.out
    assert node.kubelet.capacity()[HCA] == Capacity(before, before - 1)
    await node.kubelet.remove(pod)
    # The plugin asks every 30 seconds which container uses which device.
    await node.kubelet.wait_until(lambda kubelet: kubelet.capacity()[HCA].capacity < before, 2 * WAIT_SECONDS)


async def test_what_a_driver_reports_is_in_the_log(node: OperatedNode) -> None:
    """Even XIDs without consequences are logged, under the plugin's name, whichever of its threads receives them."""
    node.gpus.xid(3, 13)

    async with node.running("logs", "gpu", "-n", "0", "-f") as lines:
        await lines.until("code=13")


async def test_where_a_plugin_crashed(node: OperatedNode) -> None:
    """The log contains the stack of a crash, which the status of the plugin's next process does not keep."""
    stub = node.plugin("stub")
    assert stub
    os.kill(stub.process.pid, signal.SIGSEGV)
    await node.status_until(lambda status: any(each.process.restarts for each in status.plugins), "the crash")
    await node.kubelet.wait_for(STUB)
    said = await node.dphub("logs", "stub", "--json", "-n", "0")
    (exited,) = (line for line in said.out.splitlines() if '"plugin exited"' in line)
    assert '"signal":"SIGSEGV"' in exited
    assert "Fatal Python error: Segmentation fault" in exited


async def test_the_use_of_devices_is_known_from_the_start(node: OperatedNode) -> None:
    """This holds after a hub restart, too; until the kubelet has answered, the status shows the use as unknown."""
    await node.kubelet.admit("holder", {STUB: 2, GPU: 1})
    await node.stop_hub()
    await node.start_hub()
    seen = set()

    def allocated() -> bool:
        status = node.status()
        found = (
            {each.name: each.allocated for plugin in status.plugins for each in plugin.report.resources}
            if status
            else {}
        )
        seen.add(found.get(STUB))
        return found.get(STUB) == 2 and found.get(GPU) == 1

    await wait_until(allocated, "the use of the devices")
    assert seen <= {None, 2}


async def test_files_that_are_removed(node: OperatedNode) -> None:
    """The hub and its plugins write their reports again, and what is known about the devices is kept."""
    await node.dphub("cordon", "stub-3", "--reason", "the fan is loud")
    files = (node.run_dir.hub_report, node.run_dir.report("stub"), node.run_dir.health("stub"))
    await wait_until(files[2].exists, "the cordon to be kept")
    for file in files:
        file.unlink()
    await wait_until(lambda: all(file.exists() for file in files), "the files")
    await node.without_problems()
    await node.dphub("restart", "stub")
    assert "the fan is loud" in (await node.dphub("status")).out


async def test_two_plugins_with_one_resource(node: OperatedNode) -> None:
    """The one that is refused names the other and says what to do."""
    section = f"\n[watcher:twin]\ncmd = python -m hub.plugin plugins.stub:Stub --config {node.directory}/stub.yaml\n"
    node.rewrite("circus.ini", (node.directory / "circus.ini").read_text() + section)
    await node.dphub("reload")
    found = await _noticed(node, "another process is using")
    other = {"stub": "twin", "twin": "stub"}[found.about]
    assert (
        found.remedy
        == f"{other}, in the same hub, serves the same resource: remove one from circus.ini, then dphub reload"
    )


async def test_containers_that_get_nothing(node: OperatedNode) -> None:
    """A plugin that rejects every call looks healthy from outside; the status shows for a while what it rejected."""
    node.stub_faults(allocate={"fail": "the licence server is unavailable"})
    with pytest.raises(AdmissionError):
        await node.kubelet.admit("unlucky", {STUB: 1})
    found = await _noticed(node, "1 container has failed to get its devices since the plugin started")
    assert "the licence server is unavailable" in found.message
    assert found.severity is Severity.INFO


async def test_allocations_that_fail_each_time(node: OperatedNode) -> None:
    """These are an error in the status, with an alert, until one succeeds; the node stays ready for rollouts."""
    node.stub_faults(allocate={"fail": "the licence server is unavailable"})
    for number in range(3):
        with pytest.raises(AdmissionError):
            await node.kubelet.admit(f"unlucky-{number}", {STUB: 1})
    found = await _noticed(node, "failing: example.com/stub: the last 3 allocations failed")
    assert "the licence server is unavailable" in found.message
    assert (found.severity, found.remedy) == (Severity.ERROR, "dphub logs stub")
    assert (await node.dphub("status")).code == 1
    assert await node.metric("dphub_plugin_condition", plugin="stub", condition="failing") == 1
    code, text = await node.get("/readyz")
    assert (code, found.message in text) == (200, True)
    node.stub_faults()
    pod = await node.kubelet.admit("lucky", {STUB: 1})
    assert pod.containers["main"].started
    await node.status_until(lambda status: _about(status, "failing") is None, "a plugin that is not failing")


async def test_a_kubelet_that_does_not_report_the_use_of_devices(node: OperatedNode) -> None:
    """Its pod resources API is off: everything works, and the status says what it cannot know."""
    (node.plugin_dir.parent / "pod-resources" / "kubelet.sock").unlink()
    for number, resource in enumerate((GPU, HCA, STUB)):
        await node.kubelet.admit(f"pod-{number}", {resource: 1})
    await _noticed(node, "cannot determine which containers use which devices: the pod resources API is unavailable")
    assert (await node.dphub("status")).code == 0


async def test_a_pool_that_selects_nothing() -> None:
    """Its resource is registered and has no device, which the status reports."""
    files = {"ib.yaml": "configList: [{resourceName: hca, mode: hca, selectors: {vendors: ['beef']}}]"}
    async with operated(files=files, wanted={STUB: 4}) as node:
        await _noticed(node, f"{HCA}: the plugin found no device for it")
