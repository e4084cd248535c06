"""Measure what is left over on a node after a day: memory, descriptors, threads and files.

The day is simulated: the events of each hour run back to back.
"""

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from benchmarks.kernel import proportional_size
from benchmarks.nodes import DEVICES, LIMIT, NAMES, UNLIMITED_RECOVERIES, all_allocatable, node_of_three
from benchmarks.rows import Row
from hub.base.logfile import rotated
from hub.status.reader import read_report
from hub.testing.kubelet import AdmissionError, ContainerStartError
from hub.testing.node import Node

HOURS = 24
EVENTS = 7
"""How many pods, and how many faults, each plugin has in an hour."""

WHAT = "a day of restarts, faults, pods and resets"

SETTLED = 4
"""Hours until caches and logs have reached their full size."""

POLL = 0.1
"""Seconds between checks for leftovers."""

MAX_GROWTH = 3.0
"""MB by which the memory of a process may grow after `SETTLED` hours."""


async def day(events: float, seed: int, *, hours: int = HOURS, settled: int = SETTLED) -> list[Row]:
    """Simulate the hours of a day on a node with three plugins.

    Each hour, pods come and go, and each device that they get is reset; devices break and recover; the kubelet
    restarts, gracefully or after a crash; and one plugin is restarted. The hub and the other two plugins run all day.

    Args:
        events: The number of pods and faults in an hour, as a fraction of the usual number.
        seed: The seed for the random choices.
        hours: How many hours the day lasts.
        settled: How many hours pass before the first measurement.
    """
    rng = random.Random(seed)  # noqa: S311 - for repeatable choices
    each = max(1, round(EVENTS * events))
    async with node_of_three(plugin=UNLIMITED_RECOVERIES, reset=True) as node:
        failed = sum([await _hour(node, rng, each) for _ in range(settled)])
        before = _Leftovers.of(node)
        failed += sum([await _hour(node, rng, each) for _ in range(hours - settled)])
        after = await _settled(node, before)
    pods = Row(WHAT, "pods that failed", failed, "", 0, each * len(NAMES) * hours)
    return [pods, *after.rows(before, hours - settled)]


async def _hour(node: Node, rng: random.Random, each: int) -> int:
    """Run an hour with this many pods and faults for each plugin; return how many pods failed."""
    happenings = [(happening, name) for happening in (_admit_pod, _break_device) for name in NAMES] * each
    failed = 0
    for happening, name in rng.sample(happenings, len(happenings)):
        failed += not await happening(node, rng, name)
    await (node.kubelet.restart() if rng.random() < 0.5 else _crash(node))  # noqa: PLR2004 - an even chance
    await all_allocatable(node.kubelet)
    restarted = await node.dphub("restart", NAMES[-1])
    if restarted.code:
        raise RuntimeError(f"dphub restart failed: {restarted}")
    await all_allocatable(node.kubelet)
    return failed


async def _crash(node: Node) -> None:
    await node.kubelet.crash()
    await node.kubelet.start()


async def _admit_pod(node: Node, rng: random.Random, name: str) -> bool:
    """Admit a pod and remove it; return whether its container started."""
    try:
        await node.kubelet.admit("pod", {f"example.com/{name}": rng.randint(1, DEVICES)})
    except AdmissionError:
        return False
    except ContainerStartError:
        await node.kubelet.remove("pod")
        return False
    await node.kubelet.remove("pod")
    return True


async def _break_device(node: Node, rng: random.Random, name: str) -> bool:
    """Break a device and repair it; after each of the two, wait until the kubelet has the new list."""
    for unhealthy in ({f"{name}-{rng.randrange(DEVICES)}": f"fault {rng.random()}"}, {}):
        scratch = Path(node.log.parent) / f"{name}.faults.new"
        scratch.write_bytes(msgspec.json.encode({"unhealthy": unhealthy}))
        scratch.replace(scratch.with_suffix(".json"))
        await node.kubelet.wait_for(f"example.com/{name}", allocatable=DEVICES - len(unhealthy), timeout=LIMIT)
    return True


def _counts(file: Path) -> bool:
    """Return whether a file counts as left over.

    Each log has a second file once its first one is full, and each plugin has a history once a container has used one
    of its devices.
    """
    return file != rotated(file.with_suffix("")) and not file.name.endswith(".history.json")


async def _settled(node: Node, before: "_Leftovers") -> "_Leftovers":
    """Return the values once none except memory exceeds its earlier value, or after `LIMIT`: connections close late."""
    end = time.monotonic() + LIMIT
    while (left := _Leftovers.of(node)).has_more_than(before) and time.monotonic() < end:  # noqa: ASYNC110 - no event
        await asyncio.sleep(POLL)
    return left


@dataclass(frozen=True)
class _Leftovers:
    """What exists on a node while it is idle."""

    memory: dict[str, float]
    """The memory of each process that runs all day, in MB."""
    descriptors: int
    threads: int
    files: int
    """The files in the run directory and in the kubelet's directory."""

    @classmethod
    def of(cls, node: Node) -> "_Leftovers":
        """Return what exists now."""
        if node.hub is None:
            raise RuntimeError("there is no hub to measure")
        reports = {name: read_report(node.run_dir.report(name)) for name in NAMES[:-1]}
        pids = {"hub": node.hub.pid, **{name: report.pid for name, report in reports.items() if report}}
        processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        return cls(
            {name: proportional_size(process.pid) / 1e6 for name, process in processes.items()},
            sum(process.num_fds() for process in processes.values()),
            sum(process.num_threads() for process in processes.values()),
            sum(_counts(file) for path in (node.run_dir.path, node.plugin_dir) for file in path.rglob("*")),
        )

    def has_more_than(self, before: "_Leftovers") -> bool:
        """Return whether any value except memory is higher than before."""
        return any(row.value > 0 for row in self.rows(before, 0)[1:])

    def rows(self, before: "_Leftovers", hours: int) -> list[Row]:
        """Return by how much the values exceed the earlier ones."""
        growth = max(size - before.memory[name] for name, size in self.memory.items())
        counts = {
            "descriptors": self.descriptors - before.descriptors,
            "threads": self.threads - before.threads,
            "files": self.files - before.files,
        }
        return [
            Row(WHAT, "growth of the memory of a process", growth, "MB", MAX_GROWTH, hours),
            *(Row(WHAT, f"growth of {figure}", value, "", 0, hours) for figure, value in counts.items()),
        ]
