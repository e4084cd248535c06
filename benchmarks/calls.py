"""Measure Allocate as a client of the plugin's socket sees it, and a very long list."""

import asyncio
import sys
import time
from pathlib import Path

import grpc.aio
import msgspec
import psutil

from benchmarks.nodes import LIMIT, NAMES, PLAIN, RESOURCES, STUB, node_of_three
from benchmarks.rows import Row, times
from hub.cli.waiting import wait_for_report
from hub.kubelet.wire.v1beta1_pb2 import PreStartContainerRequest
from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginStub
from hub.testing.kubelet import FakeKubelet
from hub.testing.node import Node

MANY = 16_384
HANGING = 8


async def allocate(count: int) -> list[Row]:
    """Call Allocate `count` times from a separate process, like a kubelet."""
    rows: list[Row] = []
    for what, plugin in {"Allocate": PLAIN, "Allocate by the plugin's own method": STUB}.items():
        async with node_of_three(plugin=plugin) as node:
            rows += times(what, await _call_allocate(node, count), {"median": 0.6, "p99": 2})
    return rows


async def allocate_while_resets_hang(count: int) -> list[Row]:
    """Call Allocate `count` times while eight resets of the plugin hang."""
    async with node_of_three(HANGING, reset=True) as node:
        (Path(node.log.parent) / f"{NAMES[0]}.faults.json").write_bytes(b'{"reset": {"*": {"do": "hang"}}}')
        async with grpc.aio.insecure_channel(f"unix:{_socket(node)}") as channel:
            request = PreStartContainerRequest(devices_ids=[f"{NAMES[0]}-{n}" for n in range(HANGING)])
            hanging = DevicePluginStub(channel).PreStartContainer(request)
            answer = asyncio.ensure_future(hanging)
            await _workers(node, HANGING)
            took = await _call_allocate(node, count)
            if hanging.done():
                raise RuntimeError("the resets did not hang for long enough")
            hanging.cancel()
            await asyncio.wait([answer])
    return times(f"Allocate while {HANGING} resets hang", took, {"median": None, "p99": None})


async def _workers(node: Node, count: int) -> None:
    """Wait until `count` resets run."""
    state = await wait_for_report(node.run_dir, NAMES[0], lambda state: bool(state.resources), LIMIT)
    while len(psutil.Process(state.pid).children()) < count:  # noqa: ASYNC110 - there is no event for a process that starts
        await asyncio.sleep(0.01)


def _socket(node: Node) -> Path:
    return next(node.plugin_dir.glob(f"*_{NAMES[0]}.sock"))


async def _call_allocate(node: Node, count: int) -> list[float]:
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.allocate_client", _socket(node), f"{NAMES[0]}-0", str(count)),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await client.communicate()
    return msgspec.json.decode(printed, type=list[float])


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
