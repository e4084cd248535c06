"""Measure what the hub and its three plugins cost an idle node."""

import asyncio
import re
import time
from pathlib import Path

import psutil

from benchmarks.nodes import shipped_node
from benchmarks.rows import Row
from hub.testing.node import Node

SETTLE = 3.0
"""Seconds after the start that are not measured."""


async def footprint(seconds: float) -> list[Row]:
    """Measure memory, and CPU time over a number of seconds, with the shipped circus.ini."""
    async with shipped_node() as node:
        await asyncio.sleep(SETTLE)
        tree = _tree(node)
        memory = {process.pid: proportional_size(process.pid) for process in tree}
        begin, used = time.monotonic(), _processor_seconds(tree)
        await asyncio.sleep(seconds)
        percent = 100 * (_processor_seconds(tree) - used) / (time.monotonic() - begin)
    hub, *plugins = memory.values()
    what = "memory of the hub and three plugins, proportional set size"
    return [
        Row(what, "sum", (hub + sum(plugins)) / 1e6, "MB", 110, len(memory)),
        Row(what, "hub", hub / 1e6, "MB", None, 1),
        Row(what, "largest plugin", max(plugins) / 1e6, "MB", None, len(plugins)),
        Row("CPU time when idle, all processes", "share", percent, "% of a core", 0.5, len(memory)),
    ]


def _tree(node: Node) -> list[psutil.Process]:
    if node.hub is None:
        raise RuntimeError("there is no hub to measure")
    hub = psutil.Process(node.hub.pid)
    return [hub, *hub.children(recursive=True)]


def proportional_size(pid: int) -> float:
    """Return the memory of a process in bytes, including its share of shared memory."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    if not found:
        raise RuntimeError("this kernel does not report the proportional set size")
    return 1024 * int(found[1])


def _processor_seconds(tree: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in tree)
