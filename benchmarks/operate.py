"""Measure commands and scrapes of a node."""

import asyncio
import sys
import time
from http import HTTPStatus
from pathlib import Path

import msgspec

from benchmarks.calls import MANY
from benchmarks.kernel import proportional_size
from benchmarks.nodes import LIMIT, NAMES, all_allocatable, node_of_three, shipped_node
from benchmarks.rows import Row, times
from hub.cli.probe import ask
from hub.cli.waiting import wait_for_report
from hub.model.plugin import PluginReport
from hub.testing.node import Node


async def scrapes(count: int) -> list[Row]:
    """Change one of very many devices, or all of them with different reasons, and get the metrics and the status."""
    each = -(-MANY // len(NAMES))
    cold, one, all_, status = [], [], [], []
    async with node_of_three(each) as node:
        cold.append(await _get(node, "/metrics"))
        for _ in range(count // 10):
            await node.stop_hub()
            await node.start_hub()
            await all_allocatable(node.kubelet, devices=each)
            cold.append(await _get(node, "/metrics"))
        for turn in range(count):
            await _change(node, NAMES[0], {f"{NAMES[0]}-{turn}": "benchmark"})
            one.append(await _get(node, "/metrics"))
            status.append(await _get(node, "/status"))
        for turn in range(count):
            changes = (
                _change(node, name, {f"{name}-{n}": f"benchmark {turn}, device {n}" for n in range(each)})
                for name in NAMES
            )
            await asyncio.gather(*changes)
            all_.append(await _get(node, "/metrics"))
    budgets: dict[str, float | None] = {"median": 200, "worst": 200}
    return [
        *times(f"{MANY} devices: the first scrape of /metrics", cold, budgets),
        *times(f"{MANY} devices: scrape of /metrics after a change", one, budgets),
        *times(f"{MANY} devices: scrape of /metrics after each device has changed", all_, budgets),
        *times(f"{MANY} devices: /status right after a scrape has decoded the reports", status, {"median": None}),
    ]


async def _change(node: Node, name: str, unhealthy: dict[str, str]) -> None:
    """Set the health of one plugin's devices, and wait until it appears in the plugin's report."""
    root = Path(node.log.parent)
    scratch = root / f"{name}.faults.new"
    scratch.write_bytes(msgspec.json.encode({"unhealthy": unhealthy}))
    scratch.replace(root / f"{name}.faults.json")

    def seen(state: PluginReport) -> bool:
        devices = [device for resource in state.resources for device in resource.devices]
        return {device.id: device.reason for device in devices if not device.healthy} == unhealthy

    await wait_for_report(node.run_dir, name, seen, LIMIT)


async def _get(node: Node, path: str) -> float:
    """Return the seconds until the hub has answered."""
    begin = time.monotonic()
    # On the Unix socket: a client on the network would have to wait for its share of the event loop.
    code, _ = await asyncio.to_thread(ask, str(node.run_dir.http_socket), path)
    if code != HTTPStatus.OK:
        raise RuntimeError(f"the hub's response to {path} is {code}")
    return time.monotonic() - begin


async def commands(count: int) -> list[Row]:
    """Run commands and restart a plugin `count` times; also measure the memory that the first scrape costs."""
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
