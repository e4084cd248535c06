"""The life of a device on a node: which container used it, and what happened to it."""

import asyncio
import json
import os
import signal
from typing import Any

from hub.testing.waiting import WAIT_SECONDS
from tests.harness.operated import STUB, OperatedNode, operated

CONFIG = """
[watcher:stub]
cmd = python -m hub.plugin plugins.stub:Stub
watchdog = {watchdog}
[env]
DPHUB_HOST_ROOT = {directory}/root
"""


Line = dict[str, Any]


async def _history(node: OperatedNode, *words: str) -> list[Line]:
    said = await node.dphub("history", *words, "--json")
    assert said.err == "", said
    return [json.loads(line) for line in said.out.splitlines()]


async def _history_with(node: OperatedNode, field: str, *words: str) -> Line:
    """Return the only allocation once it has this field; a real kubelet notices each change a moment later."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = await _history(node, *words)
            if found and field in found[0]:
                (only,) = found
                return only


async def test_the_life_of_a_device() -> None:
    """Its history survives restarts of the plugin and the hub, and agrees with the metrics."""
    async with operated(CONFIG, wanted={STUB: 4}) as node:
        pod = await node.kubelet.admit("trainer", {STUB: 1}, namespace="team-a")
        (device,) = pod.containers["main"].devices[STUB]
        begun = await _history_with(node, "since")
        assert [begun] == await _history(node, device)
        assert begun.items() >= {"device": device, "holder": "team-a/trainer/main", "plugin": "stub"}.items()
        assert "until" not in begun
        labels = {"device": device, "namespace": "team-a", "pod": "trainer", "container": "main"}
        assert await node.metric("dphub_device_held", **labels) == await node.metric("dphub_device_held") == 1

        node.stub_faults(unhealthy={device: "pulled out"})
        await node.status_until(lambda status: not status.ok, "the fault")
        (change,) = (await _history_with(node, "health", "trainer"))["health"]
        assert (change["health"], change["reason"]) == ("unhealthy", "pulled out")

        seconds = await _counted(node)
        node.stub_faults()
        stub = node.plugin("stub")
        assert stub
        os.kill(stub.process.pid, signal.SIGKILL)
        await node.status_until(lambda status: status.plugins[0].process.pid != stub.process.pid, "the next process")
        await node.kubelet.wait_for(STUB, 4, timeout=WAIT_SECONDS)
        assert await _counted(node) >= seconds
        await node.kubelet.remove(pod)
        ended = await _history_with(node, "until", device)
        assert ended["since"] == begun["since"] < ended["until"]
        assert ended["health"][0] == change
        assert await node.metric("dphub_device_held") == 0

        await node.stop_hub()
        said = await node.dphub("history", "team-a/trainer")
        assert (said.code, "the hub is not running" in said.out, device in said.out) == (1, True, True)
        await node.start_hub()
        await node.without_problems()
        assert await _history(node) == [ended]
        assert await _counted(node) >= ended["until"] - ended["since"]


async def _counted(node: OperatedNode) -> float:
    """Wait until the time in use is counted, and return it: at least a second, up to the kubelet's latest response."""
    while True:
        await _history(node)
        if counted := await node.metric("dphub_device_held_seconds_total", resource=STUB, namespace="team-a"):
            return counted
