"""Measure the GPU plugin on a node with a simulated driver."""

import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import combinations
from pathlib import Path

from benchmarks.rows import Row, times
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import PluginProcess
from plugins.gpu.discovery.facts import Ancestor, Gpu, Link, Topology
from plugins.gpu.preference import group_of, prefer
from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import AllocationPolicy
from tests.harness.gpu_support import GPU, GpuNode
from tests.harness.node import Node
from tests.integration.gpu.gpu_faults import PLUGIN, RandomFaults
from tests.integration.gpu.gpu_ib_node import GpuIbNode, count_close_hcas
from tests.simulators.nvml.profiles import CUBE_MESH, ancestor, make_profile

QUIET = "dphub: {health: {interval: 1000, stable_for: 0}}"
SIXTEEN = 16


@asynccontextmanager
async def serving_gpus(config: str = "version: v1") -> AsyncIterator[tuple[GpuNode, PluginProcess, FakeKubelet]]:
    """Run the GPU plugin without a hub on a node with eight GPUs, which are allocatable."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        node = Node(Path(directory))
        gpus = GpuNode(node, "switch8")
        async with FakeKubelet(node.plugin_dir) as kubelet:
            # This plugin has no limit on recoveries.
            plugin = gpus.start(config, target=node.write_plugin(PLUGIN))
            try:
                await kubelet.wait_for(GPU, 8, timeout=60)
                yield gpus, plugin, kubelet
            finally:
                for each in node.plugins:
                    each.kill()


async def gpu_starts(count: int) -> list[Row]:
    """Start the plugin `count` times on a node with eight GPUs."""
    took = []
    for _ in range(count):
        begin = time.monotonic()
        async with serving_gpus():
            took.append(time.monotonic() - begin)
    return times(
        "GPU plugin: start to 8 GPUs allocatable (including kubelet startup)", took, {"median": None, "worst": None}
    )


async def gpu_events(count: int) -> list[Row]:
    """Cause `count` XIDs, and then lose a GPU one twentieth as often."""
    heard, found = [], []
    async with serving_gpus(QUIET) as (gpus, _, kubelet):
        for turn in range(count):
            gpus.driver.xid(turn % 8, 94)
            heard.append(await _list_after(kubelet, time.monotonic()))
            # The GPU recovers at the next poll. This file triggers one, since the interval is too long to wait for.
            (gpus.root / "dev/nvidia-look").touch()
            await _until(kubelet, 8)
            (gpus.root / "dev/nvidia-look").unlink()
    async with serving_gpus("dphub: {health: {stable_for: 0}}") as (gpus, _, kubelet):
        for turn in range(max(1, count // 20)):
            gpus.driver.lose(turn % 8)
            found.append(await _list_after(kubelet, time.monotonic()))
            gpus.driver.repair(turn % 8)
            await _until(kubelet, 8)
    return [
        *times("from an XID until the kubelet has the list", heard, {"median": 50, "p99": 50, "worst": None}),
        *times(
            "from a GPU lost without an event until the kubelet has the list (probed every 5 s)",
            found,
            {"median": None, "worst": 5500},
        ),
    ]


async def _list_after(kubelet: FakeKubelet, begin: float) -> float:
    await _until(kubelet, 7)
    return kubelet.lists(GPU)[-1].time - begin


async def _until(kubelet: FakeKubelet, healthy: int) -> None:
    await kubelet.wait_until(lambda kubelet: kubelet.capacity()[GPU].allocatable == healthy, 60, f"{healthy} GPUs")


async def gpu_faults(count: int, seed: int) -> list[Row]:
    """Run `count` random sequences of faults; each must end with a correct list."""
    took = []
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        node = Node(Path(directory))
        try:
            async with FakeKubelet(node.plugin_dir) as kubelet:
                faults = RandomFaults(node, kubelet, random.Random(seed))  # noqa: S311 - not a secret
                for _ in range(count):
                    begin = time.monotonic()
                    await faults.sequence()
                    took.append(time.monotonic() - begin)
        finally:
            for plugin in node.plugins:
                plugin.kill()
    return times("GPU fault sequences, each ending with a correct list", took, {"median": None, "worst": None})


async def gpu_and_ib(count: int, seed: int) -> list[Row]:
    """Admit `count` pods with GPUs and HCAs, with and without the hint about the allocated GPUs."""
    rows = []
    for near in (True, False):
        with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
            node = Node(Path(directory))
            async with FakeKubelet(node.plugin_dir) as kubelet:
                try:
                    rng = random.Random(seed)  # noqa: S311 - not a secret
                    possible, got = await count_close_hcas(GpuIbNode(node, near=near), kubelet, rng, count)
                finally:
                    for plugin in node.plugins:
                        plugin.kill()
        what = f"HCAs not on the GPUs' switches, {'with' if near else 'without'} the hint"
        rows.append(Row(what, "of those possible", 100 * (1 - got / possible), "%", 0 if near else None, possible))
    return rows


async def gpu_preference(count: int, seed: int) -> list[Row]:
    """Request `count` preferences out of 16 GPUs of each topology, in all sizes, and `count` out of 1,600 replicas."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    rows = []
    for name, topology in _topologies().items():
        took = [_ask(topology, rng, size) for size in range(1, SIXTEEN + 1) for _ in range(max(1, count // SIXTEEN))]
        rows += times(f"preferred allocation, any size out of 16 GPUs, {name}", took, {"median": None, "worst": 5})
    took = [_ask_replicas(rng) for _ in range(count)]
    return [*rows, *times("preferred allocation out of 1,600 replicas", took, {"median": None, "worst": 10})]


def _gpu(number: int, uuid: str) -> Gpu:
    return Gpu(uuid, number, number, "x", f"0000:{number:02x}:00.0", 1, None, (9, 0))


def _topologies() -> dict[str, Topology]:
    def of(profile: str) -> Topology:
        gpus = enumerate(make_profile(profile))
        return Topology(
            {
                (f"{one:02}", f"{other:02}"): Link(Ancestor(ancestor(a, b)), a.peers.get(b.uuid, 0))
                for (one, a), (other, b) in combinations(gpus, 2)
            }
        )

    cubes = {
        (f"{a + at:02}", f"{b + at:02}"): Link(nvlinks=links) for (a, b), links in CUBE_MESH.items() for at in (0, 8)
    }
    return {"NVSwitch": of("switch16"), "PCIe tree": of("pcie16"), "NVLink mesh": Topology(cubes)}


def _ask(topology: Topology, rng: random.Random, size: int) -> float:
    available = [Share("r", _gpu(number, f"{number:02}")) for number in range(SIXTEEN)]
    if rng.random() < 0.5:  # noqa: PLR2004 - every other time some are in use
        available = rng.sample(available, rng.randint(size, SIXTEEN))
    required = rng.sample(available, rng.choice([0, 0, min(1, size)]))
    return _timed(topology, available, required, size)


def _ask_replicas(rng: random.Random) -> float:
    available = [
        Share("r", _gpu(number, f"{number:02}"), None, Sharing.TIME_SLICING, replica, 100)
        for number in range(SIXTEEN)
        for replica in range(100)
    ]
    return _timed(Topology(), available, [], rng.choice([1, 2, 16, 100, 1600]))


def _timed(topology: Topology, available: Sequence[Share], required: Sequence[Share], size: int) -> float:
    totals = {group_of(share): 100 for share in available}
    begin = time.perf_counter()
    chosen = prefer(topology, totals, AllocationPolicy.DISTRIBUTED, available, required, size)
    took = time.perf_counter() - begin
    if len(chosen) != size:
        raise RuntimeError(f"{len(chosen)} of {size} devices were chosen")
    return took
