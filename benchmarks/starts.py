"""Measure cold starts and kills: the time until all devices are allocatable."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Sequence

import psutil

from benchmarks.bare.resource import BareResource
from benchmarks.kernel import tree
from benchmarks.nodes import (
    EIGHT_GPUS,
    LIMIT,
    NAMES,
    THREE,
    all_allocatable,
    all_served,
    bare_node,
    node_of_three,
    shipped_node,
    stop_serving,
)
from benchmarks.rows import START, Row, times
from hub.cli.waiting import wait_for_report
from hub.model.plugin import PluginReport, RegistrationStatus
from hub.testing.kubelet import FakeKubelet
from hub.testing.node import Node


async def cold_starts(count: int) -> list[Row]:
    """Start the hub `count` times, and as often with eight GPUs."""
    async with node_of_three() as node:
        rows = await _compare_starts("from hub start until every resource is allocatable", node, THREE, count, 1000)
    async with shipped_node(gpus=True) as node:
        what = "8 GPUs: from hub start until every device is allocatable"
        return [*rows, *await _compare_starts(what, node, EIGHT_GPUS, count, None)]


async def _compare_starts(
    what: str, node: Node, resources: Sequence[BareResource], count: int, budget: float | None
) -> list[Row]:
    """Start the node's hub and a bare one in turn."""
    took, floor = [], []
    async with bare_node(resources) as bare:
        for _ in range(count):
            took.append(await _start(node, resources))
            floor.append(await _start(bare, resources))
    return times(what, took, {"median": budget, "worst": None}, floor, START)


async def _start(node: Node, resources: Sequence[BareResource]) -> float:
    await stop_serving(node)
    begin = time.monotonic()
    await node.start_hub()
    await all_served(node.kubelet, resources)
    return time.monotonic() - begin


async def plugin_kills(count: int) -> list[Row]:
    """Kill a healthy plugin `count` times; restart the hub in between, to exclude the back-off."""
    took, floor = [], []
    async with node_of_three() as node, bare_node(THREE) as bare:
        for turn in range(count):
            name = NAMES[turn % len(NAMES)]
            state = await wait_for_report(node.run_dir, name, _serves, LIMIT)
            took.append(await _kill_plugin(node.kubelet, name, state.pid))
            floor.append(await _kill_plugin(bare.kubelet, name, _bare_plugin(bare, name)))
            if name == NAMES[-1]:
                await node.stop_hub()
                await node.start_hub()
                await all_allocatable(node.kubelet)
    what = "from a plugin's SIGKILL until its devices are allocatable again"
    return times(what, took, {"median": 600, "worst": None}, floor, START)


async def kill_anything(count: int, seed: int) -> list[Row]:
    """Kill any process of the tree `count` times, at random moments; restart a killed hub, as a kubelet would.

    Half of the kills happen before the node has recovered from the previous one, or while processes are starting. The
    recovery from the others is timed, from the last kill on.

    Raises:
        TimeoutError: a resource was lost; to reproduce that, use the same seed.
    """
    rng = random.Random(seed)  # noqa: S311 - for repeatable choices
    took: dict[str, list[float]] = {"hub": [], "plugin": []}
    async with node_of_three() as node:
        for _ in range(count):
            await asyncio.sleep(rng.uniform(0, 0.5))
            seen, begin = len(node.kubelet.lists()), time.monotonic()
            victim = await _kill_one(node, rng)
            if rng.random() < 0.5:  # noqa: PLR2004 - an even chance
                await node.kubelet.wait_until(_has_more_lists_than(seen), LIMIT, "a list")
                await all_allocatable(node.kubelet)
                took[victim].append(time.monotonic() - begin)
        # A restarted kubelet has no earlier lists, so the devices that it lists are served.
        await node.kubelet.restart()
        await all_allocatable(node.kubelet)
    what = "SIGKILL at a random moment to all allocatable, including back-off"
    return [
        row
        for kind, seconds in took.items()
        if seconds
        for row in times(f"{what}: {kind}", seconds, {"median": None, "worst": None})
    ]


def _has_more_lists_than(count: int) -> Callable[[FakeKubelet], bool]:
    return lambda kubelet: len(kubelet.lists()) > count


async def _kill_one(node: Node, rng: random.Random) -> str:
    """Kill the hub or one of its plugins, and return which of the two it was."""
    if node.hub is None:
        raise RuntimeError("there is no hub to kill")
    children = psutil.Process(node.hub.pid).children()
    victim = rng.choice([None, *sorted(children, key=lambda child: child.pid)])
    if victim is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
        return "plugin"
    node.hub.kill()
    await node.hub.wait()
    await node.start_hub()
    return "hub"


async def _kill_plugin(kubelet: FakeKubelet, name: str, pid: int) -> float:
    resource = f"example.com/{name}"
    seen = len(kubelet.lists(resource))
    begin = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    await kubelet.wait_until(lambda kubelet: len(kubelet.lists(resource)) > seen, LIMIT, f"{resource} again")
    await all_allocatable(kubelet)
    return time.monotonic() - begin


def _bare_plugin(node: Node, name: str) -> int:
    """Return the process id of the bare plugin that serves the resource of this name."""
    (found,) = [pid for pid in tree(node)[1:] if f"example.com/{name}" in " ".join(psutil.Process(pid).cmdline())]
    return found


def _serves(state: PluginReport) -> bool:
    """Return whether this is the report of a running process whose resource is registered.

    The file outlives the process, and a zombie keeps its pid.
    """
    registered = [resource.registration is RegistrationStatus.REGISTERED for resource in state.resources]
    try:
        return registered == [True] and psutil.Process(state.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
