"""Measure kubelet restarts: the time until every resource is allocatable again, and lost resources."""

import asyncio
import random
import time
from collections import Counter

from benchmarks.nodes import RESOURCES, all_allocatable, node_of_three
from benchmarks.rows import Row, times

WHAT = "from kubelet restart until every resource is allocatable, three plugins"


async def kubelet_restarts(count: int, seed: int) -> list[Row]:
    """Restart the kubelet `count` times, at random moments, gracefully or by a crash.

    A quarter of the restarts happens before the node has recovered from the previous one; those are checked, not timed.

    Raises:
        TimeoutError: a resource was lost; repeat it with the seed.
    """
    chance = random.Random(seed)  # noqa: S311 - for repeatable choices
    took: list[float] = []
    async with node_of_three() as node:
        kubelet = node.kubelet
        for _ in range(count):
            await asyncio.sleep(chance.uniform(0, 0.05))
            begin = time.monotonic()
            if chance.random() < 0.5:  # noqa: PLR2004 - an even chance
                await kubelet.crash()
                await kubelet.start()
            else:
                await kubelet.restart()
            if chance.random() < 0.75:  # noqa: PLR2004 - see above
                await all_allocatable(kubelet)
                took.append(time.monotonic() - begin)
        await all_allocatable(kubelet)
        accepted = Counter((entry.resource, entry.start) for entry in kubelet.registrations if not entry.error)
        twice = [key for key, registrations in accepted.items() if registrations > 1]
        allocatable = [name for name, found in kubelet.capacity().items() if found.allocatable]
    rows = times(WHAT, took, {"median": 50, "p99": None, "worst": 1000})
    lost = len(set(RESOURCES).difference(allocatable))
    return [
        *rows,
        Row(WHAT, "lost", lost, "resources", 0, count),
        Row(WHAT, "registered twice with one kubelet", len(twice), "resources", 0, len(accepted)),
    ]
