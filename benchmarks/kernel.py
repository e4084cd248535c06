"""The kernel's figures about processes: memory, CPU time and wake-ups."""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from hub.testing.node import Node

GRPC_THREADS = ("grpc_", "event_engine", "lifeguard")
"""Prefixes of the names of the threads of gRPC's core."""


def tree(node: Node) -> list[int]:
    """Return the process ids of the hub and of all its descendants."""
    if node.hub is None:
        raise RuntimeError("there is no hub to measure")
    hub = psutil.Process(node.hub.pid)
    return [hub.pid, *(child.pid for child in hub.children(recursive=True))]


def proportional_size(pid: int) -> float:
    """Return the memory of a process in bytes, including its share of shared memory."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    if not found:
        raise RuntimeError("this kernel does not report the proportional set size")
    return 1024 * int(found[1])


@dataclass(frozen=True)
class Usage:
    """The CPU usage of a group of processes."""

    percent: float
    """Their CPU time, in percent of a core."""
    wake_ups: float
    """How often their threads begin to sleep in a second: the voluntary context switches."""
    own_wake_ups: float
    """The same without the threads of gRPC's core."""


async def usage(trees: Sequence[Sequence[int]], seconds: float) -> list[Usage]:
    """Return the CPU usage of several groups of processes, measured over the same period."""
    begin, before = time.monotonic(), [_Counts.read(pids) for pids in trees]
    await asyncio.sleep(seconds)
    passed, after = time.monotonic() - begin, [_Counts.read(pids) for pids in trees]
    return [now.since(then, passed) for now, then in zip(after, before, strict=True)]


@dataclass(frozen=True)
class _Counts:
    processor: float
    wake_ups: dict[tuple[int, int], int]
    """Keyed by process and thread."""
    of_grpc: frozenset[tuple[int, int]]

    @classmethod
    def read(cls, pids: Sequence[int]) -> "_Counts":
        wake_ups, of_grpc = {}, set()
        for pid in pids:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                status = (thread / "status").read_text(encoding="utf-8", errors="replace")
                key = pid, int(thread.name)
                wake_ups[key] = int(_field(status, "voluntary_ctxt_switches"))
                if _field(status, "Name").startswith(GRPC_THREADS):
                    of_grpc.add(key)
        return cls(sum(_processor_seconds(pid) for pid in pids), wake_ups, frozenset(of_grpc))

    def since(self, before: "_Counts", seconds: float) -> Usage:
        counts = {key: count - before.wake_ups.get(key, 0) for key, count in self.wake_ups.items()}
        own = sum(count for key, count in counts.items() if key not in self.of_grpc)
        percent = 100 * (self.processor - before.processor) / seconds
        return Usage(percent, sum(counts.values()) / seconds, own / seconds)


def _field(status: str, name: str) -> str:
    found = re.search(rf"^{name}:\s+(.*)$", status, re.MULTILINE)
    if not found:
        raise RuntimeError(f"/proc/PID/status has no {name}")
    return found[1]


def _processor_seconds(pid: int) -> float:
    # The clock of another process (man 3 clock_getcpuclockid); /proc/PID/stat counts in hundredths of a second.
    return time.clock_gettime((~pid << 3) | 2)
