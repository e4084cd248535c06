"""A fake kubelet with both APIs for devices, as tests and demos use it."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from hub.testing.dra.model import (
    ClaimPod,
    DeviceHealth,
    DraError,
    DraOptions,
    DriverRegistration,
    PodEvent,
)
from hub.testing.dra.process import DraProcess
from hub.testing.kubelet import Container, FakeKubelet, Pod


class DraKubelet(FakeKubelet):
    """A kubelet as drivers of dynamic resource allocation and device plugins see it, inside an `async with` block.

    Args:
        plugin_dir: The directory of device plugins; its parent is the kubelet's root directory.
        dra: The options of the DRA side.
        options: The options of `FakeKubelet`.
    """

    dra_process_type: ClassVar[type[DraProcess]] = DraProcess
    """The class that a start runs; a test may choose another."""

    def __init__(self, plugin_dir: Path, dra: DraOptions, **options: Any) -> None:  # noqa: ANN401 - those of FakeKubelet
        super().__init__(plugin_dir, distinguishes_sockets=dra.version >= "1.37", **options)
        self.root = plugin_dir.parent
        self.dra_options = dra
        self.driver_registrations: list[DriverRegistration] = []
        """All attempts to register drivers, across all starts."""
        self.events: list[PodEvent] = []
        """The failed attempts to prepare and unprepare."""
        self._claim_pods: dict[str, ClaimPod] = {}
        self._dra: DraProcess | None = None

    async def start(self) -> None:
        """Start both sides; do nothing if they are running.

        Raises:
            ConfigError: a directory or a checkpoint is invalid.
        """
        await super().start()
        if self._dra is None:
            dra = self.dra_process_type(
                self.root,
                self.dra_options,
                self._claim_pods,
                number=self.starts,
                noted=self._registered,
                changed=self._journal.changed,
            )
            self._dra = dra
            await dra.start()
            self._journal.changed()

    async def _end(self, *, clean: bool) -> None:
        dra, self._dra = self._dra, None
        if dra is not None:
            await dra.stop()
        await super()._end(clean=clean)

    # State.

    @property
    def claim_pods(self) -> Mapping[str, ClaimPod]:
        """The pods with claims, by UID."""
        return self._claim_pods

    def instances(self, driver: str) -> list[tuple[str, bool]]:
        """Return the endpoints of a driver's instances in registration order, and whether they are connected."""
        return self._dra.instances().get(driver, []) if self._dra else []

    async def wait_for_driver(self, driver: str, connected: int = 1) -> None:
        """Wait until a driver has this many connected instances.

        Raises:
            TimeoutError: it has not.
        """

        def is_reached(_: FakeKubelet) -> bool:
            return sum(is_connected for _, is_connected in self.instances(driver)) == connected

        await self.wait_until(is_reached, what=f"{connected} connected instances of {driver}")

    async def health(self, pod: ClaimPod) -> dict[str, dict[str, list[DeviceHealth]]]:
        """Return the health in the status of a pod: by container and by `claim:NAME` or `claim:NAME/REQUEST`."""
        return await self._running_dra().health(pod)

    async def cdi_devices(self, pod: ClaimPod, container: str) -> list[str]:
        """Return the CDI names that a container gets from the runtime.

        Raises:
            DraError: a claim of the pod is not prepared.
        """
        return await self._running_dra().cdi_devices(pod, container)

    # Pods with claims.

    async def run(self, pod: ClaimPod) -> dict[str, list[str]]:
        """Run a pod, and return the CDI names that each container gets.

        While its claims cannot be prepared, it waits, as a pod in ContainerCreating does.
        """
        self._claim_pods[pod.uid] = pod
        while True:
            try:
                return await self.prepare(pod)
            except DraError as error:
                self._note("FailedPrepareDynamicResources", pod, error)
            await self._pause(self.dra_options.prepare_retry)

    async def prepare(self, pod: ClaimPod) -> dict[str, list[str]]:
        """Prepare the claims of a pod, as a kubelet does before it starts a sandbox; return the CDI names by container.

        Raises:
            DraError: the call failed; the pod remains.
        """
        self._claim_pods[pod.uid] = pod
        dra = self._running_dra()
        await dra.prepare(pod)
        found = {container: await dra.cdi_devices(pod, container) for container in pod.all_containers()}
        await self._show(pod, dra)
        return found

    async def end(self, pod: ClaimPod) -> None:
        """Terminate a pod whose containers have exited; it stays Terminating until its claims are unprepared."""
        while True:
            try:
                await self.unprepare(pod)
            except DraError as error:
                self._note("FailedUnprepareDynamicResources", pod, error)
            else:
                return
            await self._pause(self.dra_options.unprepare_retry)

    async def unprepare(self, pod: ClaimPod) -> None:
        """Unprepare the claims of a pod, once.

        Raises:
            DraError: the call failed; the pod remains.
        """
        await self._running_dra().unprepare(pod)
        self._remove(pod)

    async def forget(self, pod: ClaimPod) -> None:
        """Delete a pod by force: its claims are unprepared by the next check for pods that are gone."""
        self._remove(pod)
        if self._dra:
            await self._dra.forget(pod)

    def _remove(self, pod: ClaimPod) -> None:
        self._claim_pods.pop(pod.uid, None)
        self._pods.pop(f"{pod.namespace}/{pod.name}", None)
        self._journal.changed()

    async def _show(self, pod: ClaimPod, dra: DraProcess) -> None:
        """Show a pod in the pod resources API."""
        shown = Pod(pod.name, pod.namespace)
        for name in pod.all_containers():
            shown.containers[name] = Container(name, dynamic=await dra.devices(pod, name), started=True)
        self._pods[shown.key] = shown
        self._journal.changed()

    def _note(self, reason: str, pod: ClaimPod, error: DraError) -> None:
        self.events.append(PodEvent(reason, pod.name, str(error), time.monotonic()))
        self._journal.changed()

    async def _pause(self, seconds: float) -> None:
        """Wait for the next attempt; a kubelet that has started meanwhile looks at all its pods at once."""
        start = self.starts
        try:
            async with asyncio.timeout(seconds):
                await self._journal.until(lambda: self.starts != start and self._dra is not None)
        except TimeoutError:
            await self._journal.until(lambda: self._dra is not None)

    def _registered(self, registration: DriverRegistration) -> None:
        self.driver_registrations.append(registration)
        self._journal.changed()

    def _running_dra(self) -> DraProcess:
        if self._dra is None:
            raise DraError("the kubelet is not running")
        return self._dra
