"""The cost of an idle node: how often its processes wake up, as the kernel counts it, at any speed of the machine."""

from pathlib import Path

from benchmarks.kernel import Usage, tree, usage
from benchmarks.nodes import shipped_node
from hub.testing.node import Node
from hub.testing.waiting import WAIT_SECONDS

WINDOW = 10.0
"""The length of a measurement in seconds: all regular work happens at least once in that time."""

MOST = {"hub": 0.5, "gpu": 2.4, "ib": 2.2, "stub": 1.8}
"""The most wake-ups a second of a process, over all threads except gRPC's. Regular work is done together every five
seconds, which makes 0.2 for each thread that takes part. The IB plugin reads its ports every second."""

MAX_CALLS = 12.0
"""The most reads and writes a second of a process."""


async def test_an_idle_node_sleeps() -> None:
    """No process wakes up more often than its regular work needs, and none reads or writes more.

    The measurement is repeated while processes are still busy starting up.
    """
    async with shipped_node() as node:
        pids = dict(zip(_names(node), tree(node), strict=True))
        for _ in range(round(WAIT_SECONDS / WINDOW)):
            before = {name: _calls(pid) for name, pid in pids.items()}
            found = dict(zip(pids, await usage([[pid] for pid in pids.values()], WINDOW), strict=True))
            calls = {name: (_calls(pid) - before[name]) / WINDOW for name, pid in pids.items()}
            if not (over := _over(found, calls)):
                break
        assert over == {}


def _names(node: Node) -> list[str]:
    """Return the names of the processes, in `tree` order."""
    commands = [Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8") for pid in tree(node)]
    plugins = [command.rstrip("\0").rpartition(":")[2].lower() for command in commands[1:]]
    assert sorted(["hub", *plugins]) == sorted(MOST)
    return ["hub", *plugins]


def _calls(pid: int) -> int:
    """Return how many times a process has called read and write, and the like."""
    lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    counts = dict(line.split(": ") for line in lines)
    return int(counts["syscr"]) + int(counts["syscw"])


def _over(found: dict[str, Usage], calls: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Return the processes that did too much, with their wake-ups and calls a second."""
    return {
        name: (each.own_wake_ups, calls[name])
        for name, each in found.items()
        if each.own_wake_ups > MOST[name] or calls[name] > MAX_CALLS
    }
