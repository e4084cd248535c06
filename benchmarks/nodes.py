"""Nodes for the benchmarks."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from benchmarks.bare.resource import BareResource
from hub.base.interpreter import own_python
from hub.supervisor.config.watchers import shipped_config
from hub.testing.kubelet import FakeKubelet
from hub.testing.node import Node
from tests.simulators.nvml import SimulatedNode

DEVICES = 4
STUB = "plugins.stub:Stub"
PLAIN = "benchmarks.plain:Plain"
UNLIMITED_RECOVERIES = "benchmarks.recoveries:UnlimitedRecoveries"
NAMES = ("red", "green", "blue")
RESOURCES = [f"example.com/{name}" for name in NAMES]

GPU, HCA, SHIPPED_STUB = "nvidia.com/gpu", "rdma/hca", "example.com/stub"

THREE = [BareResource(name, DEVICES) for name in RESOURCES]
"""What `node_of_three` serves."""

SHIPPED = [BareResource(GPU, 0), BareResource(HCA, 0), BareResource(SHIPPED_STUB, 4)]
"""What the shipped circus.ini serves without hardware."""

EIGHT_GPUS = [BareResource(GPU, 8, prefer=2, libraries=("pynvml",)), *SHIPPED[1:]]
"""What the shipped circus.ini serves on a node with eight GPUs."""

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
async def shipped_node(*, gpus: bool = False) -> AsyncIterator[Node]:
    """Run a node with the shipped circus.ini, without hardware or with eight GPUs; all devices are allocatable."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        root = Path(directory)
        config = shipped_config()
        if gpus:
            (root / "root").mkdir()
            SimulatedNode(root / "root", "switch8")
            text = config.read_text(encoding="utf-8")
            config = root / "circus.ini"
            config.write_text(f"{text}\n[env]\nDPHUB_HOST_ROOT = {root}/root\n", encoding="utf-8")
        async with Node(root, config) as node:
            await node.start_hub()
            await all_served(node.kubelet, EIGHT_GPUS if gpus else SHIPPED)
            yield node


@asynccontextmanager
async def bare_node(resources: Sequence[BareResource]) -> AsyncIterator[Node]:
    """Run a node with a bare hub and a bare plugin for each resource; all devices are allocatable."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        node = Node(Path(directory))
        node.hub_command = own_python("benchmarks.bare.hub", msgspec.json.encode(resources).decode())
        async with node:
            await node.start_hub()
            await all_served(node.kubelet, resources)
            yield node


async def stop_serving(node: Node) -> None:
    """Stop the hub of a node, and wait until the kubelet has no devices."""

    def has_no_devices(kubelet: FakeKubelet) -> bool:
        return not any(found.allocatable for found in kubelet.capacity().values())

    await node.stop_hub()
    await node.kubelet.wait_until(has_no_devices, LIMIT, "the end of all plugins")


async def all_served(kubelet: FakeKubelet, resources: Sequence[BareResource]) -> None:
    """Wait until the running kubelet has all devices of these resources.

    Raises:
        TimeoutError: a resource is lost.
    """
    for resource in resources:
        await kubelet.wait_for(resource.name, allocatable=resource.devices, timeout=LIMIT)


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
