"""`dphub reload` changes what differs, and nothing else."""

import os
import signal
import time

from hub.model.node import Condition, NodeStatus
from tests.harness.operated import CONFIG, STUB, WATCHDOG, OperatedNode, operated


async def test_reload_changes_what_changed(node: OperatedNode) -> None:
    """A plugin whose own file changed is restarted, a new one started, a removed one stopped, and no other touched."""
    gpu, ib = node.plugin("gpu"), node.plugin("ib")
    node.rewrite("stub.yaml", "resources: [{devices: 6}]")
    extra = "\n[watcher:extra]\ncmd = python -m hub.plugin plugins.stub:Stub --config {directory}/extra.yaml\n"
    (node.directory / "extra.yaml").write_text("resources: [{name: example.com/extra, devices: 2}]")
    before = node.rewrite("circus.ini", (CONFIG + extra).format(directory=node.directory, watchdog=WATCHDOG))
    said = await node.dphub("reload")
    assert said.code == 0, said
    assert "stub: restarted, registered after" in said.out
    assert "extra: added, registered after" in said.out
    await node.kubelet.wait_for(STUB, 6)
    await node.kubelet.wait_for("example.com/extra", 2)
    node.rewrite("circus.ini", before)
    said = await node.dphub("reload")
    assert (said.code, said.out) == (0, "extra: stopped and removed\n"), said
    assert (gpu and gpu.process.pid, ib and ib.process.pid) == tuple(
        each and each.process.pid for each in map(node.plugin, ("gpu", "ib"))
    )


async def test_reload_respects_what_was_stopped(node: OperatedNode) -> None:
    """A plugin stopped by an administrator stays stopped when its section changes."""
    await node.dphub("stop", "stub")
    before = (node.directory / "circus.ini").read_text()
    node.rewrite("circus.ini", before.replace("[env]", "[env]\nSOMETHING = else"))
    said = await node.dphub("reload")
    assert (said.code, "gpu: restarted" in said.out, "stub: loaded, not started" in said.out) == (0, True, True), said
    for plugin, count in (("gpu", 1), ("stub", 0)):
        assert await node.metric("dphub_plugin_restarts_total", plugin=plugin, reason="requested") == count
    assert node.kubelet.capacity()[STUB].allocatable == 0


async def test_reload_reports_what_is_stopped(node: OperatedNode) -> None:
    """A changed section or file of a stopped plugin is a change, too, which applies at the next start."""
    await node.dphub("stop", "stub")
    before = (node.directory / "circus.ini").read_text()
    node.rewrite("circus.ini", before.replace("stub.yaml", "other.yaml"))
    (node.directory / "other.yaml").write_text("resources: [{devices: 6}]")
    assert (await node.dphub("reload")).out == "stub: loaded, not started\n"
    node.rewrite("other.yaml", "resources: [{devices: 7}]")
    assert (await node.dphub("start", "stub")).code == 0
    await node.kubelet.wait_for(STUB, 7)
    assert (await node.dphub("reload")).out == "nothing has changed\n"


async def test_reload_reports_only_its_own_restarts(node: OperatedNode) -> None:
    """A plugin that restarts after a crash at that moment has not been restarted by the reload."""
    stub = node.plugin("stub")
    assert stub
    assert stub.process.pid
    os.kill(stub.process.pid, signal.SIGKILL)
    assert (await node.dphub("reload")).out == "nothing has changed\n"
    await node.kubelet.wait_for(STUB)


async def test_reload_starts_a_plugin_whose_file_was_fixed(node: OperatedNode) -> None:
    """A plugin that keeps exiting because of a mistake in its file needs no extra restart once the file is fixed."""
    good = node.rewrite("stub.yaml", "resources: 7")
    stub = node.plugin("stub")
    assert stub
    os.kill(stub.process.pid, signal.SIGKILL)

    def waits(status: NodeStatus) -> bool:
        stub = status.plugins[2]
        return stub.condition is Condition.BACKING_OFF and stub.process.next_start > time.time() + 5

    await node.status_until(waits, "the stub to wait for a long time")
    node.rewrite("stub.yaml", good)
    said = await node.dphub("reload")
    assert (said.code, "stub: restarted, registered after" in said.out) == (0, True), said


async def test_plugins_without_resources() -> None:
    """A plugin that has found nothing, and declares nothing, is not a fault; it can be restarted like any other."""
    idle = "from hub import Plugin\nclass Idle(Plugin):\n    def devices(self):\n        return []\n"
    config = "[watcher:idle]\ncmd = python -m hub.plugin {directory}/idle.py:Idle\n# {watchdog}\n"
    async with operated(config, files={"idle.py": idle}, wanted={}) as node:
        said = await node.dphub("restart", "idle")
        assert (said.code, "idle: restarted, no resources" in said.out) == (0, True), said
        assert await node.get("/readyz") == (200, "idle: no resources\n")
