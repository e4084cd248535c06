"""The pod resources API of a fake kubelet: which container uses which device."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc.aio

from hub.kubelet.wire import podresources_pb2 as wire
from hub.kubelet.wire import podresources_pb2_grpc as rpc
from hub.testing.kubelet.model import AdvertisedDevice, Container, DynamicResource, Pod


class PodResources(rpc.PodResourcesListerServicer):
    """Answers from the current state of the kubelet."""

    def __init__(self, pods: Mapping[str, Pod], healthy: Callable[[], Mapping[str, list[AdvertisedDevice]]]) -> None:
        self._pods = pods
        self._healthy = healthy

    async def List(
        self, request: wire.ListPodResourcesRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> wire.ListPodResourcesResponse:
        """Return all pods on the node, including those without devices."""
        del request, context
        return wire.ListPodResourcesResponse(pod_resources=[_pod(pod) for pod in self._pods.values()])

    async def Get(
        self, request: wire.GetPodResourcesRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> wire.GetPodResourcesResponse:
        """Return one pod, or the code UNKNOWN, which gRPC uses for a plain Go error."""
        pod = self._pods.get(f"{request.pod_namespace}/{request.pod_name}")
        if pod is None:
            words = f"pod {request.pod_name} in namespace {request.pod_namespace} not found"
            await context.abort(grpc.StatusCode.UNKNOWN, words)
        return wire.GetPodResourcesResponse(pod_resources=_pod(pod))

    async def GetAllocatableResources(
        self, request: wire.AllocatableResourcesRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> wire.AllocatableResourcesResponse:
        """Return all healthy devices, whether or not they are in use."""
        del request, context
        devices = [entry for resource, healthy in self._healthy().items() for entry in _devices(resource, healthy)]
        return wire.AllocatableResourcesResponse(devices=devices)


def _pod(pod: Pod) -> wire.PodResources:
    containers = [_container(container) for container in pod.containers.values()]
    return wire.PodResources(name=pod.name, namespace=pod.namespace, containers=containers)


def _container(container: Container) -> wire.ContainerResources:
    held = container.allocations.items()
    devices = [entry for resource, allocation in held for entry in _devices(resource, allocation.devices)]
    dynamic = [_dynamic(each) for each in container.dynamic]
    return wire.ContainerResources(name=container.name, devices=devices, dynamic_resources=dynamic)


def _dynamic(found: DynamicResource) -> wire.DynamicResource:
    device = wire.ClaimResource(
        cdi_devices=[wire.CDIDevice(name=name) for name in found.cdi_devices],
        driver_name=found.driver,
        pool_name=found.pool,
        device_name=found.device,
    )
    return wire.DynamicResource(claim_name=found.claim, claim_namespace=found.namespace, claim_resources=[device])


def _devices(resource: str, devices: Iterable[AdvertisedDevice]) -> list[wire.ContainerDevices]:
    """Return one entry per device and NUMA node, as a kubelet does."""
    return [
        wire.ContainerDevices(resource_name=resource, device_ids=[device.id], topology=topology)
        for device in devices
        for topology in _topologies(device)
    ]


def _topologies(device: AdvertisedDevice) -> list[wire.TopologyInfo | None]:
    return [wire.TopologyInfo(nodes=[wire.NUMANode(ID=node)]) for node in device.numa] or [None]
