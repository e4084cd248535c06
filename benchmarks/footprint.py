"""Measure what the hub and its three plugins cost an idle node."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.bare.hub import Process, start_plugin
from benchmarks.bare.resource import BareResource
from benchmarks.kernel import proportional_size, tree, usage
from benchmarks.nodes import EIGHT_GPUS, SHIPPED, all_served, bare_node, shipped_node, stop_serving
from benchmarks.rows import IDLE, MEMORY, Row
from hub.testing.node import Node

SETTLE = 0.5
"""How long to wait after a start before measuring, as a fraction of the measuring time. It takes about 15
seconds until gRPC's idle threads look for work only rarely."""


Budgets = tuple[float | None, float | None]
"""The budgets for memory, in MB, and for CPU time, in percent of a core."""


async def footprint(seconds: float) -> list[Row]:
    """Measure an idle node without hardware over a number of seconds, and a plugin process without a hub."""
    async with shipped_node() as node:
        rows = await _compare(node, SHIPPED, seconds, "", (95, 0.5))
    return [*rows, *await _one_plugin(seconds)]


async def gpu_footprint(seconds: float) -> list[Row]:
    """Measure an idle node with eight GPUs."""
    async with shipped_node(gpus=True) as node:
        return await _compare(node, EIGHT_GPUS, seconds, "8 GPUs: ", (None, None))


async def _compare(
    node: Node, resources: Sequence[BareResource], seconds: float, prefix: str, budgets: Budgets
) -> list[Row]:
    """Measure a hub alongside bare processes that serve the same resources.

    The CPU time of both is measured over the same seconds, because other programs may use the machine. The memory of
    each is measured while the other is not running, since processes that share a library share its memory.
    """
    # The processes of the first start may have compiled modules, which leaves them up to 15 MB larger.
    await stop_serving(node)
    await node.start_hub()
    await all_served(node.kubelet, resources)
    await asyncio.sleep(SETTLE * seconds)
    sizes = _sizes(tree(node))
    async with bare_node(resources) as bare:
        await asyncio.sleep(SETTLE * seconds)
        found, floor = await usage([tree(node), tree(bare)], seconds)
        await node.stop_hub()
        floors = _sizes(tree(bare))
    memory, processor = budgets
    what = f"{prefix}memory of the hub and three plugins, proportional set size"
    cpu, wake_ups = f"{prefix}CPU time when idle, all processes", f"{prefix}wake-ups when idle, all processes"
    count, own = len(sizes), floor.own_wake_ups
    return [
        Row(what, "sum", sum(sizes), "MB", memory, count, sum(floors), MEMORY),
        Row(what, "hub", sizes[0], "MB", None, 1, floors[0], MEMORY),
        Row(what, "largest plugin", max(sizes[1:]), "MB", None, count - 1, max(floors[1:]), MEMORY),
        Row(cpu, "share", found.percent, "% of a core", processor, count, floor.percent, IDLE),
        Row(wake_ups, "all threads", found.wake_ups, "a second", None, count, floor.wake_ups, IDLE),
        Row(wake_ups, "without gRPC's threads", found.own_wake_ups, "a second", None, count, own),
    ]


async def _one_plugin(seconds: float) -> list[Row]:
    """Measure a plugin process without a hub, and a bare plugin process."""
    resource = SHIPPED[-1]
    size = await _size(lambda node: node.start_plugin().process, resource, seconds)
    floor = await _size(lambda node: start_plugin(resource, node.plugin_dir), resource, seconds)
    return [Row("memory of a plugin process alone", "PSS", size, "MB", None, 1, floor, MEMORY)]


async def _size(start: Callable[[Node], Process], resource: BareResource, seconds: float) -> float:
    """Start a plugin process on a node, and return its memory in MB once it serves."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        async with Node(Path(directory)) as node:
            process = start(node)
            try:
                await all_served(node.kubelet, [resource])
                await asyncio.sleep(SETTLE * seconds)
                return proportional_size(process.pid) / 1e6
            finally:
                process.kill()
                process.wait()


def _sizes(pids: Sequence[int]) -> list[float]:
    """Return the memory of processes in MB."""
    return [proportional_size(pid) / 1e6 for pid in pids]
