"""Measure the kubelet's calls for a container, as a client in another process sees them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.bare.resource import BareResource
from benchmarks.gpu import serving_gpus
from benchmarks.nodes import EIGHT_GPUS, GPU, PLAIN, RESOURCES, STUB, bare_node, node_of_three, shipped_node
from benchmarks.rows import ADMISSION, Row, times
from hub.base.interpreter import own_python
from hub.testing.kubelet import FakeKubelet

ROUNDS = 5
"""How many turns each of the compared plugins takes: a machine is faster at some times than at others."""

HUNDRED = 100


class Target(NamedTuple):
    """A plugin's socket and its free devices."""

    socket: Path
    devices: list[str]

    @classmethod
    def of(cls, kubelet: FakeKubelet, plugin_dir: Path, resource: str) -> "Target":
        """Return where a resource is served on a node."""
        (*_, endpoint) = (call.endpoint for call in kubelet.registrations if call.resource == resource)
        return cls(plugin_dir / endpoint, [device.id for device in kubelet.lists(resource)[-1].devices])


async def admissions(target: Target, count: int, size: int) -> list[float]:
    """Return how many seconds the admission of each of `count` containers with `size` devices takes."""
    command = own_python("benchmarks.admission_client", str(target.socket), str(count), str(size), *target.devices)
    client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await client.communicate()
    return msgspec.json.decode(printed, type=list[float])


async def compare(count: int, size: int, targets: Sequence[Target]) -> list[list[float]]:
    """Return how many seconds each of `count` admissions takes, for each of several plugins."""
    took: list[list[float]] = [[] for _ in targets]
    for _ in range(ROUNDS):
        for number, target in enumerate(targets):
            took[number] += await admissions(target, -(-count // ROUNDS), size)
    return took


async def allocate(count: int) -> list[Row]:
    """Call Allocate `count` times for one device."""
    rows: list[Row] = []
    for what, plugin in {"Allocate": PLAIN, "Allocate by the plugin's own method": STUB}.items():
        rows += await _one_device(what, plugin, 1, count)
    return rows


async def admit(count: int) -> list[Row]:
    """Admit `count` containers with one of a hundred devices each, and as many with two of eight GPUs each."""
    rows = await _one_device(f"admission of 1 of {HUNDRED}, plugin without preference", PLAIN, HUNDRED, count)
    async with shipped_node(gpus=True) as node, serving_gpus() as (gpus, _, kubelet), bare_node(EIGHT_GPUS) as bare:
        targets = [
            Target.of(node.kubelet, node.plugin_dir, GPU),
            Target.of(kubelet, gpus.node.plugin_dir, GPU),
            Target.of(bare.kubelet, bare.plugin_dir, GPU),
        ]
        hub, alone, floor = await compare(count, 2, targets)
    budgets: dict[str, float | None] = {"median": None, "p99": None}
    return [
        *rows,
        *times("admission of 2 of 8 GPUs under the hub", hub, budgets, floor, ADMISSION),
        *times("admission of 2 of 8 GPUs, plugin alone", alone, budgets, floor, ADMISSION),
    ]


async def _one_device(what: str, plugin: str, devices: int, count: int) -> list[Row]:
    """Measure the admission of a container with one of a plugin's devices."""
    resource = RESOURCES[0]
    bare_resources = [BareResource(name, devices) for name in RESOURCES]
    async with node_of_three(devices, plugin=plugin) as node, bare_node(bare_resources) as bare:
        targets = [Target.of(each.kubelet, each.plugin_dir, resource) for each in (node, bare)]
        took, floor = await compare(count, 1, targets)
    return times(what, took, {"median": 0.6, "p99": 2}, floor, ADMISSION)
