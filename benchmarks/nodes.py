"""Provide nodes to measure on."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from hub.supervisor.config.watchers import shipped_config
from hub.testing.kubelet import FakeKubelet
from hub.testing.node import Node

DEVICES = 4
STUB = "plugins.stub:Stub"
PLAIN = "benchmarks.plain:Plain"
NAMES = ("red", "green", "blue")
RESOURCES = [f"example.com/{name}" for name in NAMES]

LIMIT = 60.0
"""Seconds of waiting after which a resource counts as lost."""


@asynccontextmanager
async def node_of_three(
    devices: int = DEVICES, *, plugin: str = STUB, reset: bool = False, distinguishes_sockets: bool = False
) -> AsyncIterator[Node]:
    """Run a node with three plugins, each with a resource of this many devices; all are allocatable.

    Args:
        devices: The devices of each plugin.
        plugin: The plugin that runs three times.
        reset: Whether devices are reset before a container starts.
        distinguishes_sockets: Whether the kubelet behaves like 1.37 and later.
    """
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        root = Path(directory)
        for name in NAMES:
            settings = {
                "resources": [{"name": f"example.com/{name}", "devices": devices}],
                "faults": str(root / f"{name}.faults.json"),
                "reset": reset,
            }
            (root / f"{name}.json").write_bytes(msgspec.json.encode(settings))
        sections = [
            f"[watcher:{name}]\ncmd = python -m hub.plugin {plugin} --config {root}/{name}.json\n" for name in NAMES
        ]
        config = root / "circus.ini"
        config.write_text("\n".join(sections), encoding="utf-8")
        kubelet = FakeKubelet(root / "device-plugins", distinguishes_sockets=distinguishes_sockets)
        async with Node(root, config, kubelet=kubelet) as node:
            await node.start_hub()
            await all_allocatable(node.kubelet, devices=devices)
            yield node


@asynccontextmanager
async def shipped_node() -> AsyncIterator[Node]:
    """Run a node with the shipped circus.ini; all resources are registered."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        async with Node(Path(directory), shipped_config()) as node:
            await node.start_hub()
            await node.kubelet.wait_until(lambda kubelet: len(kubelet.lists()) >= len(NAMES), LIMIT)
            yield node


async def all_allocatable(
    kubelet: FakeKubelet, resources: Sequence[str] = tuple(RESOURCES), devices: int = DEVICES
) -> None:
    """Wait until every resource has all its devices again in the running kubelet.

    Raises:
        TimeoutError: a resource is lost.
    """

    def all_there(kubelet: FakeKubelet) -> bool:
        capacity = kubelet.capacity()
        return all(name in capacity and capacity[name].allocatable == devices for name in resources)

    await kubelet.wait_until(all_there, LIMIT, "all resources")
