"""One plugin is restarted again and again while the node is in use: no other plugin or container notices."""

import asyncio
import random
from itertools import groupby

from hub.supervisor.circus.client import CircusClient
from hub.testing.kubelet import AdmissionError
from tests.harness.node import random_source
from tests.harness.operated import OperatedNode, operated

RESTARTS = 200
BUSY = "example.com/busy"

BUSY_CONFIG = """
[watcher:restarted]
cmd = python -m hub.plugin plugins.stub:Stub --config {directory}/stub.yaml
[watcher:busy]
cmd = python -m hub.plugin plugins.stub:Stub --config {directory}/busy.yaml
[watcher:idle]
cmd = python -m hub.plugin plugins.stub:Stub --config {directory}/idle.yaml
# {watchdog}
"""
FILES = {
    "stub.yaml": "resources: [{devices: 4}]",
    "busy.yaml": "{resources: [{name: example.com/busy, devices: 8}], faults: FAULTS}",
    "idle.yaml": "resources: [{name: example.com/idle, devices: 2}]",
}


async def test_restarts_under_load() -> None:
    """In 200 restarts, each change to another plugin's devices reaches the kubelet once, in order."""
    wanted = {"example.com/stub": 4, "example.com/idle": 2, BUSY: 8}
    async with operated(BUSY_CONFIG, files=FILES, wanted=wanted) as node:
        before = {name: plugin.process.pid for name in ("busy", "idle") if (plugin := node.plugin(name))}
        end = asyncio.Event()
        load = asyncio.create_task(_change_devices(node, end))
        pods = asyncio.create_task(_admit_pods(node, end, random_source()))
        client = CircusClient(node.run_dir, node.status)
        for _ in range(RESTARTS):
            await asyncio.to_thread(client.restart, "restarted")
        end.set()
        sent, admitted = await load, await pods
        await node.without_problems()
        after = {name: plugin.process.pid for name in ("busy", "idle") if (plugin := node.plugin(name))}
        restarted = node.plugin("restarted")
        assert restarted
        assert (restarted.process.restarts, after) == ({"requested": RESTARTS}, before)
        # A disappearing device is unhealthy before it leaves the list, so two lists in a row may have the same number.
        numbers = [sum(device.healthy for device in update.devices) for update in node.kubelet.lists(BUSY)]
        assert [number for number, _ in groupby(numbers)] == [8, *sent]
        assert len(node.kubelet.lists("example.com/idle")) == 1
        assert admitted > 0


async def _change_devices(node: OperatedNode, end: asyncio.Event) -> list[int]:
    """Change the number of devices as soon as the kubelet has the last one; return the requested numbers."""
    sent: list[int] = []
    while not end.is_set():
        sent.append(7 if len(sent) % 2 == 0 else 8)
        node.stub_faults(devices={BUSY: sent[-1]})
        await node.kubelet.wait_for(BUSY, sent[-1])
    return sent


async def _admit_pods(node: OperatedNode, end: asyncio.Event, dice: random.Random) -> int:
    """Admit and remove pods; the restarted resource may be missing, all others are always there."""
    admitted = 0
    while not end.is_set():
        resource = dice.choice([BUSY, "example.com/idle", "example.com/stub"])
        try:
            await node.kubelet.admit("pod", {resource: 1})
        except AdmissionError:
            assert resource == "example.com/stub"
            continue
        admitted += 1
        await node.kubelet.remove("pod")
    return admitted
