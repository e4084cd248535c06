"""The fake kubelet as tests and trials use it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from hub.testing.kubelet.admission import Requests
from hub.testing.kubelet.journal import Journal
from hub.testing.kubelet.model import (
    AdmissionError,
    AdvertisedDevice,
    Capacity,
    ContainerStartError,
    ListUpdate,
    Pod,
    Registered,
)
from hub.testing.kubelet.process import KubeletOptions, KubeletProcess

WAIT_SECONDS = 30.0
"""How long a test waits by default: far more than is needed, also on a busy machine."""


class FakeKubelet:
    """A node's kubelet, as far as device plugins can tell, between `async with` and its end.

    Args:
        plugin_dir: Where it listens and expects plugin sockets; made if missing.
        pod_resources_socket: Where it serves the pod resources API; by default beside the plugin directory.
        dial_back_timeout: Seconds in which a plugin that registers must accept a connection.
        pre_start_timeout: Seconds that PreStartContainer may take.
        stopped_endpoint_grace: Seconds after which a resource without its plugin is forgotten.
        tells_sockets_apart: Whether the end of a plugin leaves another one of the same resource alone, as kubelets do
            from Kubernetes 1.37 on (kubernetes/kubernetes#135437).
    """

    def __init__(
        self,
        plugin_dir: Path,
        *,
        pod_resources_socket: Path | None = None,
        dial_back_timeout: float = 10.0,
        pre_start_timeout: float = 30.0,
        stopped_endpoint_grace: float = 300.0,
        tells_sockets_apart: bool = False,
    ) -> None:
        self._settings = KubeletOptions(
            plugin_dir,
            pod_resources_socket or plugin_dir.parent / "pod-resources" / "kubelet.sock",
            dial_back_timeout,
            pre_start_timeout,
            stopped_endpoint_grace,
            tells_sockets_apart,
        )
        self._journal = Journal()
        self._pods: dict[str, Pod] = {}
        self._process: KubeletProcess | None = None
        self._socket_identity: int | None = None
        self.starts = 0
        """How often it was started; also the number of the latest start."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        self._hold_identity(None)

    # Its life.

    @property
    def running(self) -> bool:
        """Whether there is a kubelet now."""
        return self._process is not None

    async def start(self) -> None:
        """Start, as after a boot or an upgrade; nothing happens when it runs."""
        if self._process is None:
            self.starts += 1
            process = KubeletProcess(self._settings, self._journal, self._pods, self.starts)
            try:
                await _completed(process.start())
            except BaseException:
                await _completed(process.stop(clean=True))
                raise
            self._process = process
            self._hold_identity(process.socket_identity())
            self._journal.changed()

    async def stop(self) -> None:
        """End as on SIGTERM: every connection closes and kubelet.sock goes. Nothing happens when it does not run."""
        await self._end(clean=True)

    async def crash(self) -> None:
        """End as on SIGKILL: every connection closes, and the files stay as they are."""
        await self._end(clean=False)

    async def restart(self) -> None:
        """Stop and start."""
        await self.stop()
        await self.start()

    # What it knows.

    @property
    def registrations(self) -> list[Registered]:
        """Every answered call of Register, over all starts."""
        return self._journal.registrations

    @property
    def pods(self) -> Mapping[str, Pod]:
        """The admitted pods, by "namespace/name"."""
        return self._pods

    def lists(self, resource: str | None = None) -> list[ListUpdate]:
        """Every ListAndWatch message, of one resource or of all, over all starts."""
        return [update for update in self._journal.lists if resource in (None, update.resource)]

    def capacity(self) -> dict[str, Capacity]:
        """The node's devices by resource; none while it does not run."""
        return self._process.manager.capacity() if self._process else {}

    def devices(self, resource: str) -> list[AdvertisedDevice]:
        """The resource's devices as last listed; unhealthy, all of them, once the plugin is gone."""
        return (self._process and self._process.manager.devices(resource)) or []

    # Waiting.

    async def wait_for(self, resource: str, allocatable: int | None = None, timeout: float = WAIT_SECONDS) -> None:  # noqa: ASYNC109 - a test reads best with it
        """Wait until the resource has so many healthy devices, or any where no number is given.

        Raises:
            TimeoutError: it has not; the text says what there is instead.
        """

        def there(kubelet: FakeKubelet) -> bool:
            found = kubelet.capacity().get(resource)
            return found is not None and (
                found.allocatable == allocatable if allocatable is not None else found.allocatable > 0
            )

        wanted = "any" if allocatable is None else allocatable
        await self.wait_until(there, timeout, f"{wanted} allocatable of {resource}")

    async def wait_until(
        self,
        predicate: Callable[["FakeKubelet"], bool],
        timeout: float = WAIT_SECONDS,  # noqa: ASYNC109 - a test reads best with it
        what: str = "the condition",
    ) -> None:
        """Wait until the predicate holds. It is called at every change, also at one that is undone at once.

        Raises:
            TimeoutError: it does not hold in time; the text says what there is instead.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._journal.until(lambda: predicate(self))
        except TimeoutError:
            raise TimeoutError(f"waited {timeout:g} s for {what}; {self._describe()}") from None

    def changes(self) -> AsyncIterator[None]:
        """Yield at once, then after every change of what this kubelet knows."""
        return self._journal.changes()

    # Pods.

    async def admit(
        self,
        name: str,
        requests: Mapping[str, int] | None = None,
        *,
        namespace: str = "default",
        container: str = "main",
        containers: Requests | None = None,
    ) -> Pod:
        """Admit a pod and start its containers.

        Args:
            name: The pod's.
            requests: How many devices of which resource its one container asks for.
            namespace: The pod's.
            container: The name of its one container.
            containers: The requests of several containers by name, instead of `requests` and `container`.

        Raises:
            AdmissionError: too few devices, or a plugin refused; the pod is gone.
            ContainerStartError: a container did not start; the pod stays and holds its devices.
        """
        pod = Pod(name, namespace)
        if pod.key in self._pods:
            raise ValueError(f"there is a pod {pod.key} already; remove it first")
        process = self._process
        if process is None:
            raise AdmissionError(pod, "the kubelet not running")
        await process.admission.admit(pod, containers or {container: requests or {}}, process.admitted)
        for started in pod.containers.values():
            await process.admission.start(started)
        self._journal.changed()
        for started in pod.containers.values():
            if not started.started:
                raise ContainerStartError(pod, started)
        return pod

    async def start_container(self, pod: Pod, container: str = "main") -> None:
        """Start a container again, as after its end.

        Raises:
            ContainerStartError: a plugin did not let it start.
        """
        found = pod.containers[container]
        if self._process is None:
            raise RuntimeError("no kubelet runs that could start a container")
        await self._process.admission.start(found)
        self._journal.changed()
        if not found.started:
            raise ContainerStartError(pod, found)

    async def remove(self, pod: Pod | str, namespace: str = "default") -> None:
        """End a pod; its devices are free again, and no plugin is told.

        Raises:
            LookupError: there is no such pod.
        """
        key = pod.key if isinstance(pod, Pod) else f"{namespace}/{pod}"
        if self._pods.pop(key, None) is None:
            raise LookupError(f"there is no pod {key}")
        if self._process:
            self._process.books_changed()

    async def _end(self, *, clean: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            await _completed(process.stop(clean=clean))

    def _hold_identity(self, descriptor: int | None) -> None:
        """Keep the last kubelet.sock's inode number taken until the next one has its own.

        Plugins tell one kubelet from the next by inode and change time, and file systems reuse both within
        milliseconds.
        """
        if self._socket_identity is not None:
            os.close(self._socket_identity)
        self._socket_identity = descriptor

    def _describe(self) -> str:
        if not self.running:
            return "the kubelet does not run"
        known = [
            f"{resource} has {found.allocatable} allocatable of {found.capacity}"
            for resource, found in self.capacity().items()
        ]
        refused = [f"{r.resource} was refused ({r.error})" for r in self.registrations if r.error]
        return "; ".join([*known, *refused[-1:]]) or "no resource is known"


async def _completed(work: Coroutine[None, None, None]) -> None:
    """Await it, and complete it also if this task is cancelled: a gRPC server must not outlive its event loop."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
