"""Admission of pods and start of containers: the kubelet's calls to plugins, in its order."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet import topology
from hub.testing.kubelet.client import EmptyAnswerError, PluginClient, PluginError
from hub.testing.kubelet.devices import DeviceManager, PluginEndpoint
from hub.testing.kubelet.model import AdmissionError, AdvertisedDevice, Container, ContainerAllocation, Pod

Requests = Mapping[str, Mapping[str, int]]
"""The number of requested devices, by container and resource."""


class Admission:
    """Chooses devices for pods, one pod at a time, and calls their plugins."""

    def __init__(self, manager: DeviceManager, held: Callable[[str], set[str]], pre_start_timeout: float) -> None:
        self._manager = manager
        self._held = held
        self._pre_start_timeout = pre_start_timeout
        self._one_at_a_time = asyncio.Lock()
        self._closed = False
        # Devices that no pod has, and that a kubelet does not give to any after certain errors.
        self._lost: dict[str, set[str]] = {}

    def close(self) -> None:
        """Stop admitting pods, including those that are waiting for their turn."""
        self._closed = True

    async def admit(self, pod: Pod, requests: Requests, admitted: Callable[[Pod], None]) -> None:
        """Allocate devices to the pod's containers, and pass it to `admitted` before the next pod's turn.

        Raises:
            AdmissionError: there are too few devices, or a plugin returned an error; the pod has no devices.
        """
        async with self._one_at_a_time:
            if self._closed:
                raise AdmissionError(pod, "the kubelet stopping")
            try:
                for name, sizes in requests.items():
                    pod.containers[name] = Container(name)
                    await self._allocate(pod, pod.containers[name], sizes)
            except PluginError as error:
                if pod.holds_devices:
                    self.recount()
                raise AdmissionError(pod, str(error)) from None
            admitted(pod)

    def recount(self) -> None:
        """Count the allocated devices again, as a kubelet does when a pod with devices ends or Allocate fails."""
        self._lost.clear()

    async def start(self, container: Container) -> None:
        """Call PreStartContainer if plugins require it, start the container, and set `started` and `error`."""
        container.started, container.error = False, ""
        try:
            for resource, ids in container.devices.items():
                await self._pre_start(resource, ids)
        except PluginError as error:
            container.error = str(error)
        else:
            container.started = True

    async def _allocate(self, pod: Pod, container: Container, sizes: Mapping[str, int]) -> None:
        wanted = {resource: size for resource, size in sizes.items() if size}
        known = {resource: self._manager.devices(resource) or [] for resource in wanted}
        near = topology.affinity(known, {resource: self._free(resource, pod) for resource in wanted}, wanted)
        for resource, size in sizes.items():
            if resource not in self._manager.healthy():
                continue  # without a list so far, the kubelet does not know that this resource belongs to a plugin
            free = self._checked(resource, size, pod)
            if size:
                chosen = await self._choose(resource, size, free, near)
                response = await self._call_allocate(resource, [device.id for device in chosen])
                container.allocations[resource] = ContainerAllocation(tuple(chosen), response)

    async def _call_allocate(self, resource: str, ids: Sequence[str]) -> wire.ContainerAllocateResponse:
        try:
            return await _client(self._manager.endpoint(resource), resource).allocate(ids)
        except EmptyAnswerError:
            self._lost.setdefault(resource, set()).update(ids)
            raise
        except PluginError:
            self.recount()
            raise

    def _free(self, resource: str, pod: Pod) -> list[AdvertisedDevice]:
        held = self._held(resource) | pod.held(resource) | self._lost.get(resource, set())
        return [device for device in self._manager.healthy().get(resource, ()) if device.id not in held]

    def _checked(self, resource: str, size: int, pod: Pod) -> list[AdvertisedDevice]:
        """Return the free devices of the resource.

        Raises:
            PluginError: there are too few.
        """
        if not self._manager.healthy()[resource]:
            raise PluginError(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
        free = self._free(resource, pod)
        if len(free) < size:
            raise PluginError(
                f"requested number of devices unavailable for {resource}. Requested: {size}, Available: {len(free)}"
            )
        return free

    async def _choose(
        self, resource: str, size: int, free: Sequence[AdvertisedDevice], near: frozenset[int]
    ) -> list[AdvertisedDevice]:
        """Choose free devices: first those on the aligned NUMA nodes, among equals those that the plugin prefers."""
        aligned = topology.on_nodes(free, near)
        if size < len(aligned):
            preferred = await self._preferred(resource, aligned, [], size)
            return _first(size, preferred, aligned)
        if size == len(aligned):
            return aligned
        try:
            preferred = await self._preferred(resource, free, aligned, size)
        except PluginError:
            self._lost.setdefault(resource, set()).update(device.id for device in aligned)
            raise
        elsewhere = [device for device in free if device.numa]
        return _first(size, aligned, preferred, elsewhere, free)

    async def _preferred(
        self, resource: str, among: Sequence[AdvertisedDevice], required: Sequence[AdvertisedDevice], size: int
    ) -> list[AdvertisedDevice]:
        """Return the plugin's preference, limited to known devices; empty if the plugin offers no preference."""
        endpoint = self._manager.endpoint(resource)
        if endpoint is None or not endpoint.options.get_preferred_allocation_available:
            return []
        with _rpc("GetPreferredAllocation"):
            ids = await _client(endpoint, resource).preferred([d.id for d in among], [d.id for d in required], size)
        known = {device.id: device for device in among}
        return [known[device] for device in ids if device in known]

    async def _pre_start(self, resource: str, ids: Sequence[str]) -> None:
        endpoint = self._manager.endpoint(resource)
        if endpoint is None:
            raise PluginError(f"endpoint not found in cache for a registered resource: {resource}")
        # After a restart of the kubelet, the options are unknown until the plugin is back, and the call is skipped.
        if endpoint.options.pre_start_required:
            with _rpc("PreStartContainer"):
                await _client(endpoint, resource).pre_start(ids, self._pre_start_timeout)


@contextmanager
def _rpc(name: str) -> Iterator[None]:
    """Name the call in its errors, as a kubelet does for some calls."""
    try:
        yield
    except PluginError as error:
        raise PluginError(f"device plugin {name} rpc failed with err: {error}") from None


def _client(endpoint: PluginEndpoint | None, resource: str) -> PluginClient:
    """Return the connection to the resource's plugin.

    Raises:
        PluginError: there is none.
    """
    if endpoint is None:
        raise PluginError(f"unknown Device Plugin {resource}")
    if endpoint.client is None or endpoint.client.closed or endpoint.stopped_at is not None:
        raise PluginError(f"endpoint of {resource} has been stopped")
    return endpoint.client


def _first(size: int, *groups: Iterable[AdvertisedDevice]) -> list[AdvertisedDevice]:
    """Return the first `size` distinct devices, group by group."""
    distinct = {device.id: device for group in groups for device in group}
    return list(distinct.values())[:size]
