"""The fake kubelet's pod resources API reports which container holds which device."""

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from hub.kubelet.channel import CHANNEL_OPTIONS
from hub.kubelet.wire import podresources_pb2 as wire
from hub.kubelet.wire import podresources_pb2_grpc as rpc
from hub.testing.plugin import STUB
from hub.testing.scripted import device
from hub.testing.waiting import wait_until
from tests.harness.kubelet import node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


@asynccontextmanager
async def lister(socket: Path) -> "AsyncIterator[rpc.PodResourcesListerAsyncStub]":
    """Create a client."""
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS) as channel:
        yield rpc.PodResourcesListerStub(channel)


def entry(name: str, node: int | None = None) -> wire.ContainerDevices:
    """Create an entry. A kubelet lists each device separately, once for each of its NUMA nodes."""
    topology = None if node is None else wire.TopologyInfo(nodes=[wire.NUMANode(ID=node)])
    return wire.ContainerDevices(resource_name=STUB, device_ids=[name], topology=topology)


def in_order(devices: "Iterable[wire.ContainerDevices]") -> list[wire.ContainerDevices]:
    """Sort the entries, which have no order in a real kubelet."""
    return sorted(devices, key=lambda each: (list(each.device_ids), [node.ID for node in each.topology.nodes]))


LISTED = [device("a", numa=[0, 1]), device("b"), device("bad", healthy=False)]
A = [entry("a", 0), entry("a", 1)]


async def test_it_lists_every_pod_with_what_its_containers_hold() -> None:
    """Pods without devices are listed, too; pods that were rejected or are gone are not."""
    async with node() as it, lister(it.plugin_dir.parent / "pod-resources" / "kubelet.sock") as client:
        assert not (await client.List(wire.ListPodResourcesRequest())).pod_resources
        await it.plugin(listed=LISTED)
        await it.kubelet.admit("pod", containers={"x": {STUB: 2}, "y": {}}, namespace="team")
        plain = await it.kubelet.admit("plain")
        answer = await client.List(wire.ListPodResourcesRequest())
        second, first = sorted(answer.pod_resources, key=lambda pod: pod.namespace)
        assert (first.namespace, first.name) == ("team", "pod")
        assert [container.name for container in first.containers] == ["x", "y"]
        assert in_order(first.containers[0].devices) == [*A, entry("b")]
        assert list(first.containers[1].devices) == []
        assert (second.namespace, second.name) == ("default", "plain")
        await it.kubelet.remove(plain)
        assert len((await client.List(wire.ListPodResourcesRequest())).pod_resources) == 1


async def test_it_reports_one_pod_and_rejects_an_unknown_one() -> None:
    """A pod is found by name and namespace."""
    async with node() as it, lister(it.plugin_dir.parent / "pod-resources" / "kubelet.sock") as client:
        await it.plugin(listed=LISTED)
        await it.kubelet.admit("pod", {STUB: 1})
        answer = await client.Get(wire.GetPodResourcesRequest(pod_name="pod", pod_namespace="default"))
        assert in_order(answer.pod_resources.containers[0].devices) == A
        with pytest.raises(grpc.aio.AioRpcError, match="pod pod in namespace team not found") as caught:
            await client.Get(wire.GetPodResourcesRequest(pod_name="pod", pod_namespace="team"))
        assert caught.value.code() is grpc.StatusCode.UNKNOWN


async def test_it_lists_every_healthy_device_used_or_not() -> None:
    """All are listed; a device that disappeared stays with its pod, and is no longer allocatable."""
    async with node() as it, lister(it.plugin_dir.parent / "pod-resources" / "kubelet.sock") as client:
        plugin = await it.plugin(listed=LISTED)
        await it.kubelet.admit("pod", {STUB: 1})
        answer = await client.GetAllocatableResources(wire.AllocatableResourcesRequest())
        assert in_order(answer.devices) == [*A, entry("b")]
        plugin.send([device("b")])
        await it.kubelet.wait_for(STUB, allocatable=1)
        answer = await client.GetAllocatableResources(wire.AllocatableResourcesRequest())
        assert list(answer.devices) == [entry("b")]
        held = await client.Get(wire.GetPodResourcesRequest(pod_name="pod", pod_namespace="default"))
        assert in_order(held.pod_resources.containers[0].devices) == A


async def test_it_answers_after_a_restart_from_the_checkpoint() -> None:
    """Which container holds which device is known before any plugin is back."""
    async with node() as it:
        await it.plugin(listed=LISTED)
        await it.kubelet.admit("pod", {STUB: 1})
        await it.kubelet.restart()
        async with lister(it.plugin_dir.parent / "pod-resources" / "kubelet.sock") as client:
            (pod,) = (await client.List(wire.ListPodResourcesRequest())).pod_resources
            assert in_order(pod.containers[0].devices) == A


async def test_its_socket_can_be_elsewhere(tmp_path: Path) -> None:
    """A kubelet with a different root directory has it elsewhere, for example."""
    socket = tmp_path / "other" / "pods.sock"
    async with node(pod_resources_socket=socket) as it:
        assert socket.is_socket()
        assert not (it.plugin_dir.parent / "pod-resources").exists()
        await it.kubelet.stop()
        await wait_until(lambda: not socket.exists(), "the socket to be gone")
