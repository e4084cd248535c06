"""Measure Allocate while resets hang, and a very long list."""

import asyncio
import time
from pathlib import Path

import grpc.aio
import msgspec
import psutil

from benchmarks.admission import Target, admissions
from benchmarks.nodes import LIMIT, NAMES, RESOURCES, node_of_three
from benchmarks.rows import Row, times
from hub.cli.waiting import wait_for_report
from hub.kubelet.wire.v1beta1_pb2 import PreStartContainerRequest
from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginStub
from hub.testing.kubelet import FakeKubelet
from hub.testing.node import Node

MANY = 16_384
HANGING = 8


async def allocate_while_resets_hang(count: int) -> list[Row]:
    """Call Allocate `count` times while eight resets of the plugin hang."""
    async with node_of_three(HANGING, reset=True) as node:
        (Path(node.log.parent) / f"{NAMES[0]}.faults.json").write_bytes(b'{"reset": {"*": {"do": "hang"}}}')
        target = Target.of(node.kubelet, node.plugin_dir, RESOURCES[0])
        async with grpc.aio.insecure_channel(f"unix:{target.socket}") as channel:
            request = PreStartContainerRequest(devices_ids=target.devices)
            hanging = DevicePluginStub(channel).PreStartContainer(request)
            answer = asyncio.ensure_future(hanging)
            await _workers(node, HANGING)
            took = await admissions(Target(target.socket, target.devices[:1]), count, 1)
            if hanging.done():
                raise RuntimeError("the resets did not hang for long enough")
            hanging.cancel()
            await asyncio.wait([answer])
    return times(f"Allocate while {HANGING} resets hang", took, {"median": None, "p99": None})


async def _workers(node: Node, count: int) -> None:
    """Wait until `count` resets are running."""
    state = await wait_for_report(node.run_dir, NAMES[0], lambda state: bool(state.resources), LIMIT)
    while len(psutil.Process(state.pid).children()) < count:  # noqa: ASYNC110 - there is no event when a process starts
        await asyncio.sleep(0.01)


async def long_list(count: int) -> list[Row]:
    """Change one of very many devices `count` times."""
    async with node_of_three(MANY) as node:
        took = [await _change(Path(node.log.parent), node.kubelet, turn) for turn in range(count)]
        size = node.kubelet.lists(RESOURCES[0])[-1].size
    what = f"{MANY} devices: from a change until the kubelet has the list"
    return [*times(what, took, {"median": 250, "worst": None}), Row(what, "size", size / 2**20, "MiB", 4, count)]


async def _change(root: Path, kubelet: FakeKubelet, turn: int) -> float:
    resource, name = RESOURCES[0], NAMES[0]
    seen = len(kubelet.lists(resource))
    scratch = root / "faults.new"
    scratch.write_bytes(msgspec.json.encode({"unhealthy": {f"{name}-{turn}": "benchmark"}}))
    begin = time.monotonic()
    scratch.replace(root / f"{name}.faults.json")
    await kubelet.wait_until(lambda kubelet: len(kubelet.lists(resource)) > seen, 60, "another list")
    return kubelet.lists(resource)[-1].time - begin
