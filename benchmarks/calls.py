"""Allocate as a client of the plugin's socket sees it, and a very long list."""

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.nodes import NAMES, RESOURCES, node_of_three
from benchmarks.rows import Row, times

MANY = 16_384


async def allocate(count: int) -> list[Row]:
    """Call Allocate so often from a process of its own, as a kubelet is one."""
    async with node_of_three() as node:
        socket = next(node.plugin_dir.glob(f"*_{NAMES[0]}.sock"))
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.allocate_client", socket, f"{NAMES[0]}-0", str(count)),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await client.communicate()
    return times("Allocate", msgspec.json.decode(printed, type=list[float]), {"median": 0.6, "p99": 2})


async def long_list(count: int) -> list[Row]:
    """Change one device of very many so often."""
    async with node_of_three(MANY) as node:
        took = [await _change(Path(node.log.parent), node.kubelet, turn) for turn in range(count)]
        size = node.kubelet.lists(RESOURCES[0])[-1].size
    what = f"{MANY} devices: change to list received"
    return [*times(what, took, {"median": 250, "worst": None}), Row(what, "size", size / 2**20, "MiB", 4, count)]


async def _change(root: Path, kubelet, turn: int) -> float:  # type: ignore[no-untyped-def]  # noqa: ANN001
    resource, name = RESOURCES[0], NAMES[0]
    seen = len(kubelet.lists(resource))
    scratch = root / "faults.new"
    scratch.write_bytes(msgspec.json.encode({"unhealthy": {f"{name}-{turn}": "benchmark"}}))
    begin = time.monotonic()
    scratch.replace(root / f"{name}.faults")
    await kubelet.wait_until(lambda kubelet: len(kubelet.lists(resource)) > seen, 60, "another list")
    return kubelet.lists(resource)[-1].time - begin
