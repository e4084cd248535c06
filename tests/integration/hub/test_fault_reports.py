"""Faults as an administrator encounters them: the status names the cause, the endpoints agree, and the remedy helps.

Each scenario has an end: after the remedy no problem is left.
"""

import asyncio
import os
import signal
import time

import pytest

from hub.model.node import Condition, NodeStatus, Problem
from hub.testing.scripted import ScriptedKubelet
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.operated import CONFIG, GPU, HCA, SHORT_WATCHDOG, STUB, OperatedNode, operated

SLOW = """
from plugins.stub import Stub
class Slow(Stub):
    scan_timeout = 1.0
"""


def _found(status: NodeStatus, about: str, *words: str) -> Problem | None:
    """Return the problem about this part whose message contains these words."""
    problems = (problem for problem in status.problems if problem.about == about)
    return next((problem for problem in problems if all(word in problem.message for word in words)), None)


async def _reported(node: OperatedNode, about: str, *words: str) -> Problem:
    """Wait for the problem in the status; check that the command shows it, too, and does not report a healthy node."""
    status = await node.status_until(lambda status: _found(status, about, *words) is not None, f"{about}: {words}")
    async with asyncio.timeout(WAIT_SECONDS):
        said = await node.dphub("status", width=400)
        # A plugin that is backing off may just have been restarted.
        while any(word not in said.out for word in words):
            assert said.code == 1, said
            said = await node.dphub("status", width=400)
    problem = _found(status, about, *words)
    assert problem
    return problem


async def _ready(node: OperatedNode, *, ready: bool, says: str = "") -> None:
    """Check that `/readyz` and the metrics agree on whether the node is ready, and that there is something to fix."""
    code, text = await node.get("/readyz")
    assert (code, says in text) == (200 if ready else 503, True), text
    assert await node.metric("dphub_ready") == ready
    assert await node.metric("dphub_ok") == 0


async def _recovered(node: OperatedNode) -> None:
    """Check that the status and all endpoints report no problem."""
    await node.without_problems()
    said = await node.dphub("status")
    assert (said.code, "No problems" in said.out) == (0, True), said
    assert await node.get("/readyz") == (200, "gpu: registered\nib: registered\nstub: registered\n")
    assert (await node.metric("dphub_ready"), await node.metric("dphub_ok")) == (1, 1)


async def test_driver_removed(node: OperatedNode) -> None:
    """GPUs on the bus without a driver are a fault of the node, not of the plugin, which stays ready."""
    node.gpus.unload()
    await node.kubelet.wait_for(GPU, 0)
    await _reported(node, "gpu", "no NVIDIA driver is loaded on this node")
    await _ready(node, ready=True)
    assert await node.metric("dphub_devices", resource=GPU) == 0
    node.gpus.clear_faults()
    await node.kubelet.wait_for(GPU, 8)
    await _recovered(node)


async def test_xid(node: OperatedNode) -> None:
    """A GPU that has fallen off the bus is named with its XID; when it is back, the status says what to do."""
    gpu = node.gpus.gpus[3]
    node.gpus.xid(3, 79)
    problem = await _reported(
        node, "gpu", f"1 of 8 {GPU} devices is unhealthy", gpu.uuid, "XID 79", "fallen off the bus"
    )
    assert problem.remedy == f"once repaired: dphub uncordon {gpu.uuid}"
    await _ready(node, ready=True)
    assert await node.metric("dphub_devices", resource=GPU, health="unhealthy") == 1
    await node.status_until(lambda _: bool(node.plugin("gpu")), "a heartbeat")
    said = await node.dphub("uncordon", gpu.pci)
    assert said.code == 0, said
    await node.kubelet.wait_for(GPU, 8)
    await _recovered(node)


async def test_port_down(node: OperatedNode) -> None:
    """A port without a link is named with its state."""
    node.hcas.set_port("mlx5_2", "DOWN")
    await _reported(node, "ib", f"1 of 8 {HCA} devices is unhealthy", "port 1 of mlx5_2 is DOWN (Polling)")
    await _ready(node, ready=True)
    assert await node.metric("dphub_devices", resource=HCA, health="unhealthy") == 1
    node.hcas.set_port("mlx5_2", "ACTIVE")
    await node.kubelet.wait_for(HCA, 8)
    await _recovered(node)


async def test_a_plugin_that_is_suspended() -> None:
    """A process whose event loop is blocked is killed and restarted, and the status shows why."""
    async with operated(watchdog=SHORT_WATCHDOG) as node:
        stub = node.plugin("stub")
        assert stub
        os.kill(stub.process.pid, signal.SIGSTOP)
        status = await node.status_until(
            lambda status: status.plugins[2].process.pid not in {stub.process.pid, 0}, "another process"
        )
        last = status.plugins[2].process.last_exit
        assert last
        assert last.reason == f"killed by the hub: its event loop has not run for {SHORT_WATCHDOG:g} s"
        assert await node.metric("dphub_plugin_restarts_total", plugin="stub", reason="unresponsive") == 1
        await _recovered(node)


async def test_hung_hardware() -> None:
    """A plugin whose scan never ends is killed until the hardware answers. The log shows where it hung."""
    slow = CONFIG.replace("plugins.stub:Stub", "{directory}/slow.py:Slow")
    async with operated(slow, files={"slow.py": SLOW}, watchdog=SHORT_WATCHDOG) as node:
        node.stub_faults(hang=True)
        status = await node.status_until(
            lambda status: (
                status.plugins[2].process.restarts.get("unresponsive", 0) > 0 and _found(status, "stub", "") is not None
            ),
            "a plugin killed for hanging",
        )
        last = status.plugins[2].process.last_exit
        assert last
        assert last.reason == f"killed by the hub: its hardware has not responded for {SHORT_WATCHDOG:g} s"
        words = f"starting: the previous process exited: {last.reason}"
        await node.status_until(lambda status: _found(status, "stub", words) is not None, words)
        await node.status_until(lambda status: not status.ready, "a node that is not ready")
        said = await node.dphub("logs", "stub", "--json", "-n", "0")
        assert "plugin unresponsive, killed" in said.out
        assert "in _hang" in said.out
        node.stub_faults()
        await node.kubelet.wait_for(STUB, 4)
        await _recovered(node)


async def test_crash_loop(node: OperatedNode) -> None:
    """A plugin that exits again and again is backing off, with its exit code; a restart helps at once."""
    node.stub_faults(crash={"exit": 7})
    await _reported(node, "stub", "backing off", "exit code 7")
    # Long enough for what follows: the delays double.
    await node.status_until(
        lambda status: any(plugin.process.next_start > time.time() + 3 for plugin in status.plugins), "a long pause"
    )
    await _ready(node, ready=False, says="stub: backing off: exit code 7")
    assert await node.metric("dphub_plugin_condition", plugin="stub", condition=Condition.BACKING_OFF) == 1
    assert await node.metric("dphub_plugin_restarts_total", plugin="stub", reason="crashed") > 0
    said = await node.dphub("restart", "stub")
    assert (said.code, "(backing off): exit code 7" in said.err) == (1, True), said
    node.stub_faults()
    said = await node.dphub("restart", "stub")
    assert (said.code, "registered after" in said.out) == (0, True), said
    await _recovered(node)


async def test_a_file_that_is_wrong_at_a_restart(node: OperatedNode) -> None:
    """The plugin's last error is the reason, with the location in the file."""
    good = node.rewrite("stub.yaml", "resources: [{devicez: 6}]")
    said = await node.dphub("restart", "stub", width=400)
    words = f'exit code 2 (usage): {node.directory}/stub.yaml: resources[0]: unknown key "devicez"'
    assert (said.code, words in said.err) == (1, True), said
    await _reported(node, "stub", words)
    await _ready(node, ready=False, says=words)
    node.rewrite("stub.yaml", good)
    assert (await node.dphub("restart", "stub")).code == 0
    await node.kubelet.wait_for(STUB, 4)
    await _recovered(node)


async def test_refused_registration(node: OperatedNode) -> None:
    """The kubelet's own words are in the status."""
    words = "failed to dial device plugin: context deadline exceeded"
    await node.kubelet.stop()
    async with ScriptedKubelet(node.plugin_dir, words).listening():
        await _reported(node, "stub", "registration failed", STUB, words)
        await _ready(node, ready=False, says=words)
        assert await node.metric("dphub_resource_registered", resource=STUB) == 0
    await node.kubelet.start()
    await node.kubelet.wait_for(STUB, 4)
    await _recovered(node)


async def test_kubelet_down(node: OperatedNode) -> None:
    """All plugins wait for the kubelet, and this is not reported as their fault."""
    starts = await node.metric("dphub_kubelet_starts_total")
    await node.kubelet.stop()
    await _reported(node, "kubelet", f"there is no kubelet at {node.plugin_dir}; gpu, ib, stub are waiting for it")
    await _ready(node, ready=True, says="stub: waiting for kubelet")
    assert await node.metric("dphub_kubelet_up") == 0
    await node.kubelet.start()
    await node.kubelet.wait_for(STUB, 4)
    await _recovered(node)
    assert await node.metric("dphub_kubelet_up") == 1
    assert await node.metric("dphub_kubelet_starts_total") == starts + 1


async def test_kubelet_killed(node: OperatedNode) -> None:
    """The kubelet leaves its socket behind: status and metrics report once, not per plugin, that the socket is dead."""
    await node.kubelet.crash()
    await _reported(
        node,
        "kubelet",
        f"the kubelet does not answer on {node.plugin_dir}/kubelet.sock",
        "gpu, ib, stub are waiting for it",
    )
    status = node.status()
    assert status
    assert [problem.about for problem in status.problems] == ["kubelet"]
    assert (status.hub.report.kubelet_since, status.hub.report.kubelet_unresponsive) == (0, True)
    assert "kubelet up" not in (await node.dphub("status", width=400)).out
    await _ready(node, ready=True, says="stub: waiting for kubelet")
    assert await node.metric("dphub_kubelet_up") == 0
    await node.kubelet.start()
    await node.kubelet.wait_for(STUB, 4)
    await _recovered(node)
    assert await node.metric("dphub_kubelet_up") == 1


BAD = [
    ("ib.yaml", "configList: [{resourceName: hca, modus: hca}]", ["ib.yaml", "modus"]),
    (
        "circus.ini",
        "[watcher:gpu]\ncmd = python -m hub.plugin plugins.gpu:GPU\nnumprocess = 2\n",
        ["[watcher:gpu] numproc"],
    ),
]


@pytest.mark.parametrize(("name", "text", "words"), BAD, ids=[row[0] for row in BAD])
async def test_bad_configuration_on_reload(node: OperatedNode, name: str, text: str, words: list[str]) -> None:
    """The file is refused as a whole, with the location of the mistake; plugins keep running; the status shows it."""
    before = node.status()
    good = node.rewrite(name, text)
    said = await node.dphub("reload")
    assert (said.code, [word for word in words if word not in said.err]) == (2, []), said
    await _reported(node, "hub", "the last reload was rejected", *words)
    await _ready(node, ready=True)
    assert await node.metric("dphub_config_last_reload_successful") == 0
    node.rewrite(name, good)
    said = await node.dphub("reload")
    assert (said.code, said.out) == (0, "nothing has changed\n"), said
    await _recovered(node)
    after = node.status()
    assert before
    assert after
    assert [plugin.process.pid for plugin in before.plugins] == [plugin.process.pid for plugin in after.plugins]
