"""Measure upgrades: a new hub starts alongside the old one and takes over, the old one exits, and pods are admitted."""

import asyncio
import random
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from benchmarks.nodes import DEVICES, LIMIT, RESOURCES, all_allocatable, node_of_three
from benchmarks.rows import Row, times
from hub.cli.waiting import wait_for
from hub.model.node import Condition
from hub.status.reader import Reader
from hub.testing.kubelet import AdmissionError, ContainerStartError, FakeKubelet
from hub.testing.node import Node


class Traffic:
    """Pods that are admitted one after another, each with a device of every resource, and the results.

    Args:
        kubelet: The kubelet that admits them.
    """

    def __init__(self, kubelet: FakeKubelet) -> None:
        self._kubelet = kubelet
        self.failures: list[str] = []
        self.waits: list[float] = []
        """Seconds that each admission took."""
        self.gaps: list[float] = []
        """Seconds for which a resource lacked devices."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Admit and remove pods until the block ends."""
        tasks = [asyncio.create_task(self._admit()), *(asyncio.create_task(self._watch(name)) for name in RESOURCES)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    async def _admit(self) -> None:
        for number in count():
            begin = time.monotonic()
            try:
                pod = await self._kubelet.admit(f"pod-{number}", dict.fromkeys(RESOURCES, 1))
            except (AdmissionError, ContainerStartError) as error:
                self.failures.append(str(error))
                if isinstance(error, ContainerStartError):
                    await self._kubelet.remove(error.pod)
            else:
                await self._kubelet.remove(pod)
            self.waits.append(time.monotonic() - begin)

    async def _watch(self, resource: str) -> None:
        since = None
        async for _ in self._kubelet.changes():
            found = self._kubelet.capacity().get(resource)
            whole = found is not None and found.allocatable == DEVICES
            if not whole and since is None:
                since = time.monotonic()
            elif whole and since is not None:
                self.gaps.append(time.monotonic() - since)
                since = None


async def upgrade(node: Node, instance: str, *, after: float = 0, signum: int = signal.SIGTERM) -> None:
    """Start a hub with this name, and stop the old one `after` seconds after the new one is ready.

    Raises:
        TimeoutError: the new hub does not become ready, or does not get exclusive ownership of the resources.
    """
    older = node.hub
    if older is None:
        raise RuntimeError("there is no hub to upgrade")
    await node.start_hub(instance)
    await ready(node)
    await asyncio.sleep(after)
    await _end(older, signum)
    # Each resource is registered once more when the old hub is gone.
    await node.kubelet.wait_until(
        lambda kubelet: all(_registrations(kubelet, instance, name) >= 2 for name in RESOURCES),  # noqa: PLR2004 - see above
        LIMIT,
        f"{instance} to own the resources alone",
    )
    await all_allocatable(node.kubelet)


async def ready(node: Node) -> None:
    """Wait until the newest hub is ready by the conditions of a readiness probe.

    Raises:
        TimeoutError: it is not ready in time.
    """
    reader = Reader(node.run_dir)

    def is_ready() -> bool | None:
        instance = reader.instance()
        if not (instance and node.hub and instance.hub.pid == node.hub.pid):
            return None
        plugins = reader.status(running=True).plugins
        return (all(plugin.condition is Condition.REGISTERED for plugin in plugins) and bool(plugins)) or None

    if await wait_for(node.run_dir.path, is_ready, LIMIT) is None:
        raise TimeoutError(f"{node.run_dir.instance} is not ready after {LIMIT:g} s")


async def upgrades(samples: int, seed: int) -> list[Row]:
    """Upgrade `samples` times; kill half of the old hubs, and use kubelets before 1.37 for half of the upgrades.

    Raises:
        TimeoutError: a resource was lost; to reproduce that, use the same seed.
    """
    rng = random.Random(seed)  # noqa: S311 - for repeatable choices
    failures, pods, waits, gaps = 0, 0, [0.0], [0.0]
    for distinguishes_sockets in (False, True):
        async with node_of_three(distinguishes_sockets=distinguishes_sockets) as node:
            traffic = Traffic(node.kubelet)
            with traffic.running():
                for number in range(samples // 2):
                    signum = rng.choice((signal.SIGTERM, signal.SIGKILL))
                    await upgrade(node, f"hub-{number}", after=rng.uniform(0, 0.5), signum=signum)
            failures += len(traffic.failures)
            pods += len(traffic.waits)
            waits += traffic.waits
            gaps += traffic.gaps
    what = "upgrades under load"
    return [
        Row(f"{what}: failed admissions", "count", failures, "", 0, pods),
        Row(f"{what}: a resource without all its devices", "longest", 1000 * max(gaps), "ms", 0, samples),
        *times(f"{what}: an admission of three devices", waits, {"median": None, "p99": None, "worst": None}),
    ]


async def _end(hub: Process, signum: int) -> None:
    hub.send_signal(signum)
    await hub.wait()


def _registrations(kubelet: FakeKubelet, instance: str, resource: str) -> int:
    return sum(
        1
        for call in kubelet.registrations
        if call.resource == resource and Path(call.endpoint).name.startswith(f"{instance}-") and not call.error
    )
