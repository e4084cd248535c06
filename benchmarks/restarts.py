"""Measure kubelet restarts: the time until every resource is allocatable again, and lost resources."""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack

from benchmarks.nodes import RESOURCES, THREE, all_allocatable, bare_node, node_of_three
from benchmarks.rows import START, Row, times
from hub.testing.kubelet import FakeKubelet

WHAT = "from kubelet restart until every resource is allocatable, three plugins"


async def kubelet_restarts(count: int, seed: int, *, with_floor: bool = False) -> list[Row]:
    """Restart the kubelet `count` times, at random moments, gracefully or after a crash.

    A quarter of the restarts happen before the node has recovered from the previous one; those are checked, not timed.

    Args:
        count: How often to restart it.
        seed: The seed for the random timing.
        with_floor: Whether the kubelet of a bare node is restarted too, after each restart that is timed.

    Raises:
        TimeoutError: a resource was lost; to reproduce that, use the same seed.
    """
    rng = random.Random(seed)  # noqa: S311 - for repeatable choices
    took: list[float] = []
    floor: list[float] = []
    async with AsyncExitStack() as nodes:
        kubelet = (await nodes.enter_async_context(node_of_three())).kubelet
        bare = (await nodes.enter_async_context(bare_node(THREE))).kubelet if with_floor else None
        ends: dict[int, float] = {}
        for _ in range(count):
            await asyncio.sleep(rng.uniform(0, 0.05))
            begin = ends[kubelet.starts] = time.monotonic()
            crash = rng.random() < 0.5  # noqa: PLR2004 - an even chance
            await _restart(kubelet, crash=crash)
            if rng.random() < 0.75:  # noqa: PLR2004 - see above
                await all_allocatable(kubelet)
                took.append(time.monotonic() - begin)
                if bare:
                    floor.append(await _time_restart(bare, crash=crash))
        await all_allocatable(kubelet)
        counts = _counts(kubelet, ends)
    return [*times(WHAT, took, {"median": 50, "p99": None, "worst": 1000}, floor, START), *counts]


async def _restart(kubelet: FakeKubelet, *, crash: bool) -> None:
    if crash:
        await kubelet.crash()
        await kubelet.start()
    else:
        await kubelet.restart()


async def _time_restart(kubelet: FakeKubelet, *, crash: bool) -> float:
    begin = time.monotonic()
    await _restart(kubelet, crash=crash)
    await all_allocatable(kubelet)
    return time.monotonic() - begin


def _counts(kubelet: FakeKubelet, ends: Mapping[int, float]) -> list[Row]:
    """Return how many resources are lost, and how many have registered twice.

    A kubelet that stops gracefully first closes its streams, and for a moment still accepts registrations; those
    after the kubelet's time in `ends` do not count.
    """
    accepted = Counter(
        (entry.resource, entry.start)
        for entry in kubelet.registrations
        if not entry.error and entry.time < ends.get(entry.start, math.inf)
    )
    twice = [key for key, registrations in accepted.items() if registrations > 1]
    allocatable = [name for name, found in kubelet.capacity().items() if found.allocatable]
    lost = len(set(RESOURCES).difference(allocatable))
    return [
        Row(WHAT, "lost", lost, "resources", 0, len(ends)),
        Row(WHAT, "registered twice with one kubelet", len(twice), "resources", 0, len(accepted)),
    ]
