"""The device manager of a real kubelet, in place of the fake one.

The program in tests/kubelet contains Kubernetes' own code. This module gives it the interface of
`hub.testing.kubelet.process.KubeletProcess`, so that a `FakeKubelet` can start it and a test notices no difference.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hub.base.paths import KUBELET_SOCKET
from hub.base.untrusted import UnreadableError
from hub.kubelet.checkpoint import CHECKPOINT
from hub.testing.kubelet import (
    AdmissionError,
    AdvertisedDevice,
    Capacity,
    Container,
    FakeKubelet,
    ListUpdate,
    Pod,
    Registered,
    checkpoint,
)
from hub.testing.kubelet.admission import Requests
from hub.testing.kubelet.journal import Journal
from hub.testing.kubelet.model import ContainerAllocation
from hub.testing.kubelet.process import KubeletOptions
from tests.harness.kubeletbuild import binary
from tests.harness.kubeletprogram import Event, KubeletEndedError, Program

_FIXED = {"dial_back_timeout": 10.0, "pre_start_timeout": 30.0, "stopped_endpoint_grace": 300.0}
"""Seconds that a test cannot choose in a real kubelet."""

_STOP_SECONDS = 5.0
_BEFORE, _AFTER = "Allocate failed due to ", ", which is unexpected"


class Devices:
    """The last report of the device manager: how many devices each resource has, and which."""

    def __init__(self) -> None:
        self._counts: dict[str, Capacity] = {}
        self._devices: dict[str, dict[str, AdvertisedDevice]] = {}

    def capacity(self) -> dict[str, Capacity]:
        """Return the number of devices of every resource."""
        return dict(self._counts)

    def devices(self, resource: str) -> list[AdvertisedDevice] | None:
        """Return the resource's devices in the order of its plugin's list; None if the resource is unknown."""
        if resource not in self._counts:
            return None
        found = list(self._devices.get(resource, {}).values())
        return found if self._counts[resource].allocatable else [replace(each, healthy=False) for each in found]

    def in_order(self, resource: str, devices: Iterable[AdvertisedDevice]) -> tuple[AdvertisedDevice, ...]:
        """Sort devices of the resource as in its plugin's list."""
        order = {name: number for number, name in enumerate(self._devices.get(resource, {}))}
        return tuple(sorted(devices, key=lambda device: (order.get(device.id, len(order)), device.id)))

    def counted(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Store how many devices each resource has."""
        self._counts = {resource: Capacity(*numbers) for resource, numbers in counts.items()}

    def listed(self, resource: str, devices: tuple[AdvertisedDevice, ...]) -> None:
        """Store a plugin's list."""
        self._devices[resource] = {device.id: device for device in devices}


class Admission:
    """The admission of pods and the starts of their containers."""

    def __init__(self, program: Program[Event], devices: Devices, pods: Mapping[str, Pod], path: Path) -> None:
        self._program = program
        self._devices = devices
        self._pods = pods
        self._checkpoint = path

    async def admit(self, pod: Pod, requests: Requests, admitted: Callable[[Pod], None]) -> None:
        """Allocate devices to the pod's containers, and pass it to `admitted`.

        Raises:
            AdmissionError: there are too few devices, or a plugin returned an error; the pod has no devices.
        """
        pod.containers.update({name: Container(name) for name in requests})
        try:
            error = (await self._program.send("admit", pod=describe(pod, requests))).error
        except KubeletEndedError:
            raise AdmissionError(pod, "the kubelet stopping") from None
        if error:
            raise AdmissionError(pod, error.removeprefix(_BEFORE).removesuffix(_AFTER))
        self._read_devices(pod)
        admitted(pod)

    async def admit_again(self, pod: Pod) -> str:
        """Admit a pod that has devices; return the kubelet's error.

        Raises:
            KubeletEndedError: the kubelet has crashed.
        """
        return (await self._program.send("admit", pod=describe(pod, _sizes(pod)))).error

    async def start(self, container: Container) -> None:
        """Start the container, and set `started` and `error`."""
        pod = next(pod for pod in self._pods.values() if any(one is container for one in pod.containers.values()))
        try:
            started = await self._program.send("start-container", pod={"uid": pod.key}, container=container.name)
            container.error = started.error
        except KubeletEndedError:
            container.error = "the kubelet has stopped"
        container.started = not container.error

    def _read_devices(self, pod: Pod) -> None:
        _, known = checkpoint.read(self._checkpoint)
        for name, found in known.get(pod.key, pod).containers.items():
            pod.containers[name].allocations = {
                resource: ContainerAllocation(self._devices.in_order(resource, allocation.devices), allocation.response)
                for resource, allocation in found.allocations.items()
            }


class RealKubeletProcess:
    """One run of a real kubelet's device manager."""

    version: ClassVar[str]
    """The kubelet's version, such as 1.36."""
    numa_nodes: ClassVar[int] = 4
    """The number of NUMA nodes that the kubelet detects."""

    def __init__(self, settings: KubeletOptions, journal: Journal, pods: dict[str, Pod], number: int) -> None:
        _check(settings)
        self._journal = journal
        self._pods = pods
        self._number = number
        self._socket = settings.plugin_dir.path / KUBELET_SOCKET
        self._checkpoint = settings.plugin_dir.path / CHECKPOINT
        self._program = Program(
            [
                os.fspath(binary(self.version)),
                f"--plugin-dir={settings.plugin_dir.path}",
                f"--pod-resources={settings.pod_resources.path / settings.pod_resources_name}",
                f"--numa-nodes={self.numa_nodes}",
            ],
            Event,
            self._happened,
        )
        self.manager = Devices()
        self.admission = Admission(self._program, self.manager, pods, self._checkpoint)

    async def start(self) -> None:
        """Start with the pods that are on the node.

        Raises:
            OSError: the kubelet could not start.
        """
        self._forget_lost_devices()
        await self._program.start()
        pods = [describe(pod, _sizes(pod)) for pod in self._pods.values()]
        if error := (await self._program.send("start", pods=pods)).error:
            raise OSError(error)
        await self._program.send("capacity")

    async def stop(self, *, clean: bool) -> None:
        """Stop gracefully if `clean`, or exit at once."""
        if clean:
            # A graceful stop waits minutes for a client that is connected and silent.
            stopped, _ = await asyncio.wait([self._program.send("stop")], timeout=_STOP_SECONDS)
            clean = bool(stopped)
        await self._program.end(clean=clean)
        self._journal.changed()

    def socket_identity(self) -> int:
        """Return a descriptor that keeps the inode number of kubelet.sock from being reused."""
        return os.open(self._socket, os.O_PATH)

    def admitted(self, pod: Pod) -> None:
        """Add a pod that has got its devices."""
        self._pods[pod.key] = pod
        self._journal.changed()

    async def removed(self, pod: Pod) -> None:
        """Free the devices of a pod that has been removed."""
        # A kubelet that has exited in the meantime receives only the remaining pods when it starts again.
        with suppress(KubeletEndedError):
            await self._program.send("remove", pod={"uid": pod.key})
        self._journal.changed()

    def _forget_lost_devices(self) -> None:
        """Remove the pods whose devices are not in the checkpoint, because it has been deleted or is broken."""
        try:
            _, known = checkpoint.read(self._checkpoint)
        except UnreadableError:
            known = {}
        for key in [key for key, pod in self._pods.items() if pod.holds_devices and key not in known]:
            del self._pods[key]

    def _happened(self, what: Event) -> None:
        self.manager.counted(what.capacity)
        now = time.monotonic()
        if what.event == "registered":
            self._journal.registrations.append(Registered(what.resource, what.endpoint, self._number, now, what.error))
        elif what.event == "list":
            listed = what.devices or []
            devices = tuple(AdvertisedDevice(each.id, each.health == "Healthy", each.numa) for each in listed)
            self.manager.listed(what.resource, devices)
            self._journal.lists.append(ListUpdate(what.resource, now, devices, what.size, self._number))
        self._journal.changed()


def real_kubelet(version: str, numa_nodes: int = 4) -> type[RealKubeletProcess]:
    """Return the type of process that a `FakeKubelet` has to start for this version."""
    return type("KubeletProcess", (RealKubeletProcess,), {"version": version, "numa_nodes": numa_nodes})


async def restart_with(kubelet: FakeKubelet, pod: Pod, resource: str) -> None:
    """Restart a kubelet, and let it admit a pod as soon as it has a list of the resource's devices.

    A kubelet admits all pods of its node again after a start. The fake kubelet does not, so nothing is admitted there.

    Raises:
        KubeletEndedError: the kubelet has crashed.
    """
    before = len(kubelet.lists(resource))
    await kubelet.crash()
    await kubelet.start()
    await kubelet.wait_until(lambda kubelet: len(kubelet.lists(resource)) > before, what="the list after the restart")
    process = kubelet._process
    if isinstance(process, RealKubeletProcess):
        await process.admission.admit_again(pod)


def describe(pod: Pod, requests: Requests) -> dict[str, Any]:
    """Describe a pod for the program; its namespace and name are its UID, as in the fake kubelet's checkpoint."""
    containers = [{"name": name, "limits": dict(sizes)} for name, sizes in requests.items()]
    return {"uid": pod.key, "name": pod.name, "namespace": pod.namespace, "containers": containers}


def _sizes(pod: Pod) -> Requests:
    return {
        name: {resource: len(ids) for resource, ids in container.devices.items()}
        for name, container in pod.containers.items()
    }


def _check(settings: KubeletOptions) -> None:
    """Skip a test that needs what a real kubelet cannot do."""
    for name, seconds in _FIXED.items():
        if getattr(settings, name) != seconds:
            pytest.skip(f"a real kubelet's {name} is {seconds:g} s")
