"""What it takes to look at a node, and to change one thing of it."""

import asyncio
import sys
import time
from pathlib import Path

import msgspec
from tornado.httpclient import AsyncHTTPClient

from benchmarks.calls import MANY
from benchmarks.footprint import proportional_size
from benchmarks.nodes import NAMES, RESOURCES, node_of_three, shipped_node
from benchmarks.rows import Row, times
from hub.cli.states import wait_for
from hub.kubelet.node import Node
from hub.state import HubState, read_file


async def scrapes(count: int) -> list[Row]:
    """Change one device of very many and ask for the metrics, and the status, so often."""
    each = -(-MANY // len(NAMES))
    async with node_of_three(each) as node:
        metrics, status = [], []
        for turn in range(count):
            await _change(node, turn)
            metrics.append(await _get(node, "/metrics"))
            status.append(await _get(node, "/status"))
    return [
        *times(f"{MANY} devices: scrape of /metrics after a change", metrics, {"median": 200, "worst": None}),
        *times(f"{MANY} devices: /status, just decoded", status, {"median": None}),
    ]


async def _change(node: Node, turn: int) -> None:
    """One device of one plugin, and wait until the plugin's state has it."""
    root = Path(node.log.parent)
    state = node.run_dir.state(NAMES[0])
    before = state.stat().st_mtime_ns
    scratch = root / "faults.new"
    scratch.write_bytes(msgspec.json.encode({"unhealthy": {f"{NAMES[0]}-{turn}": "benchmark"}}))
    seen = len(node.kubelet.lists(RESOURCES[0]))
    scratch.replace(root / f"{NAMES[0]}.faults")
    await node.kubelet.wait_until(lambda kubelet: len(kubelet.lists(RESOURCES[0])) > seen, 60, "another list")
    await wait_for(node.run_dir.path, lambda: state.stat().st_mtime_ns != before or None, 60)


async def _get(node: Node, path: str) -> float:
    """Seconds until the hub has answered."""
    hub = read_file(node.run_dir.hub_state, HubState)
    if hub is None:
        raise RuntimeError("the hub has no state")
    begin = time.monotonic()
    await AsyncHTTPClient().fetch(f"http://{hub.http}{path}")
    return time.monotonic() - begin


async def commands(count: int) -> list[Row]:
    """Let an operator look at the node and restart a plugin, so often; and what the first scrape costs in memory."""
    async with shipped_node() as node:
        looks = [await _command(node, "status") for _ in range(count)]
        restarts = [await _command(node, "restart", "stub") for _ in range(count)]
        if node.hub is None:
            raise RuntimeError("there is no hub to measure")
        before = proportional_size(node.hub.pid)
        await _get(node, "/metrics")
        growth = proportional_size(node.hub.pid) - before
    return [
        *times("dphub status", looks, {"median": None}),
        *times("dphub restart, until the resource is registered again", restarts, {"median": None, "worst": None}),
        Row("memory of the hub for the first scrape of /metrics", "growth", growth / 1e6, "MB", None, 1),
    ]


async def _command(node: Node, *words: str) -> float:
    begin = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub", *words, "--run-dir", str(node.run_dir.path)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait() != 0:
        raise RuntimeError(f"dphub {' '.join(words)} failed")
    return time.monotonic() - begin
