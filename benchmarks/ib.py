"""Measure the IB plugin on a sysfs tree with 64 virtual functions."""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.kernel import proportional_size
from benchmarks.rows import Row, times
from hub import Host
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import PluginProcess
from plugins.ib.discovery.sysfs import read_hcas
from tests.harness.node import Node
from tests.simulators.rdma.tree import RdmaTree, sixty_four_vfs

VF = "rdma/vf"
PLUGIN = "from plugins.ib import IB\nclass P(IB):\n    recovery = RecoveryPolicy(max_recoveries=10**9)\n"


@asynccontextmanager
async def _serving() -> AsyncIterator[tuple[RdmaTree, PluginProcess, FakeKubelet, float]]:
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        node = Node(Path(directory))
        (node.directory / "root").mkdir()
        tree = sixty_four_vfs(node.directory / "root")
        for name in tree.names:
            tree.set_port(name, "ACTIVE")
        health = {"ports": "any", "down": 0, "up": 0}
        pool = {"resourceName": "vf", "mode": "vf", "selectors": {"vendors": ["15b3"]}, "health": health}
        async with FakeKubelet(node.plugin_dir) as kubelet:
            config = json.dumps({"configList": [pool]})
            env = {"DPHUB_HOST_ROOT": str(tree.root)}
            begin = time.monotonic()
            plugin = node.start_plugin(node.write_plugin(PLUGIN), name="ib", config=config, env=env)
            try:
                await kubelet.wait_for(VF, 64, timeout=60)
                yield tree, plugin, kubelet, time.monotonic() - begin
            finally:
                plugin.kill()


async def ib_starts(count: int) -> list[Row]:
    """Start the plugin `count` times with 64 virtual functions."""
    took = []
    for _ in range(count):
        async with _serving() as (_, _, _, seconds):
            took.append(seconds)
    what = "IB plugin: from start until 64 VFs are allocatable"
    return times(what, took, {"median": None, "worst": None})


async def ib_changes(count: int) -> list[Row]:
    """Take a port down `count` times, and read the sysfs tree as many times."""
    async with _serving() as (tree, plugin, kubelet, _):
        took = []
        for _ in range(count):
            begin = time.monotonic()
            tree.set_port("mlx5_7", "DOWN")
            await kubelet.wait_for(VF, 63, timeout=60)
            took.append(kubelet.lists(VF)[-1].time - begin)
            tree.set_port("mlx5_7", "ACTIVE")
            await kubelet.wait_for(VF, 64, timeout=60)
        reads = [await asyncio.to_thread(_read, tree) for _ in range(count)]
        memory = proportional_size(plugin.pid)
    return [
        *times(
            "from a port change until the kubelet has the list (polled every second, no debounce)",
            took,
            {"median": None, "worst": None},
        ),
        *times("reading 64 VFs from sysfs", reads, {"median": None, "worst": None}),
        Row("IB plugin with 64 VFs", "memory (PSS)", memory / 1e6, "MB", None, 1),
    ]


def _read(tree: RdmaTree) -> float:
    begin = time.perf_counter()
    read_hcas(Host(tree.root))
    return time.perf_counter() - begin
