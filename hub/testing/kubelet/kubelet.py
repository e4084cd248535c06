"""The fake kubelet, as tests and demos use it."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from hub.testing.held import HeldDirectory
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
"""Seconds that a test waits by default: far more than necessary, even on a busy machine."""


class FakeKubelet:
    """A kubelet as device plugins see it, inside an `async with` block.

    Args:
        plugin_dir: Where it listens and expects plugin sockets; created if missing.
        pod_resources_socket: Where it serves the pod resources API; by default next to the plugin directory.
        dial_back_timeout: Seconds within which a plugin that registers must accept a connection.
        pre_start_timeout: Seconds that PreStartContainer may take.
        stopped_endpoint_grace: Seconds after which a resource without a plugin is removed.
        distinguishes_sockets: Whether a resource can have several plugins with different sockets, and the end of one
            does not affect the others, as in kubelets from 1.37 on (kubernetes/kubernetes#135437).
    """

    process_type: ClassVar[type[KubeletProcess]] = KubeletProcess
    """The class that a start runs; a test may choose another."""

    def __init__(
        self,
        plugin_dir: Path,
        *,
        pod_resources_socket: Path | None = None,
        dial_back_timeout: float = 10.0,
        pre_start_timeout: float = 30.0,
        stopped_endpoint_grace: float = 300.0,
        distinguishes_sockets: bool = False,
    ) -> None:
        socket = pod_resources_socket or plugin_dir.parent / "pod-resources" / "kubelet.sock"
        self.plugin_dir = HeldDirectory(plugin_dir)
        self._directories = self.plugin_dir, HeldDirectory(socket.parent)
        self._settings = KubeletOptions(
            *self._directories,
            socket.name,
            dial_back_timeout,
            pre_start_timeout,
            stopped_endpoint_grace,
            distinguishes_sockets,
        )
        self._journal = Journal()
        self._pods: dict[str, Pod] = {}
        self._process: KubeletProcess | None = None
        self._socket_identity: int | None = None
        self.starts = 0
        """The number of starts, which is also the number of the current start."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        self._hold_identity(None)
        for directory in self._directories:
            directory.close()

    # Start and stop.

    @property
    def running(self) -> bool:
        """Whether it is running."""
        return self._process is not None

    async def start(self) -> None:
        """Start, such as after a boot or an upgrade; do nothing if it is running.

        Raises:
            ConfigError: a link has taken the place of one of its directories.
        """
        if self._process is None:
            for directory in self._directories:
                directory.open()
            self.starts += 1
            process = self.process_type(self._settings, self._journal, self._pods, self.starts)
            try:
                await _completed(process.start())
            except BaseException:
                await _completed(process.stop(clean=True))
                raise
            self._process = process
            self._hold_identity(process.socket_identity())
            self._journal.changed()

    async def stop(self) -> None:
        """Stop gracefully: close all connections and remove kubelet.sock; do nothing if it is not running.

        A kubelet up to 1.37 does not do this on SIGTERM: it leaves the socket file, as in `crash`.
        """
        await self._end(clean=True)

    async def crash(self) -> None:
        """Stop as on SIGKILL: close all connections, and leave the files as they are."""
        await self._end(clean=False)

    async def restart(self) -> None:
        """Stop and start."""
        await self.stop()
        await self.start()

    # State.

    @property
    def registrations(self) -> list[Registered]:
        """The latest completed calls to Register, across all starts."""
        return list(self._journal.registrations)

    @property
    def pods(self) -> Mapping[str, Pod]:
        """The admitted pods, by "namespace/name"."""
        return self._pods

    def lists(self, resource: str | None = None) -> list[ListUpdate]:
        """Return the latest ListAndWatch messages, of one resource or of all, across all starts.

        All are kept until they take hundreds of megabytes of memory; then the oldest are dropped.
        """
        return [update for update in self._journal.lists if resource in (None, update.resource)]

    def capacity(self) -> dict[str, Capacity]:
        """Return the number of devices by resource; empty while the kubelet is not running."""
        return self._process.manager.capacity() if self._process else {}

    def devices(self, resource: str) -> list[AdvertisedDevice]:
        """Return the last list of a resource's devices; all are unhealthy after their plugin has gone."""
        return (self._process and self._process.manager.devices(resource)) or []

    # Waiting.

    async def wait_for(self, resource: str, allocatable: int | None = None, timeout: float = WAIT_SECONDS) -> None:  # noqa: ASYNC109 - a test reads best with it
        """Wait until the resource has this number of healthy devices, or any by default.

        Raises:
            TimeoutError: it has not; the text contains the actual numbers.
        """

        def is_reached(kubelet: FakeKubelet) -> bool:
            found = kubelet.capacity().get(resource)
            return found is not None and (
                found.allocatable == allocatable if allocatable is not None else found.allocatable > 0
            )

        wanted = "any" if allocatable is None else allocatable
        await self.wait_until(is_reached, timeout, f"{wanted} allocatable devices of {resource}")

    async def wait_until(
        self,
        predicate: Callable[["FakeKubelet"], bool],
        timeout: float = WAIT_SECONDS,  # noqa: ASYNC109 - a test reads best with it
        what: str = "the condition",
    ) -> None:
        """Wait until the predicate is true. It is called on every change, even one that is reverted immediately.

        Raises:
            TimeoutError: it did not become true in time; the text describes the state.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._journal.until(lambda: predicate(self))
        except TimeoutError:
            raise TimeoutError(f"waited {timeout:g} s for {what}; {self._describe()}") from None

    def changes(self) -> AsyncIterator[None]:
        """Yield immediately, and then after every change in the kubelet's state."""
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
            name: The name of the pod.
            requests: By resource, the number of devices that its only container requests.
            namespace: The namespace of the pod.
            container: The name of its only container.
            containers: By container, the requests of several containers, instead of `requests` and `container`.

        Raises:
            AdmissionError: too few devices, or a plugin returned an error; the pod was not admitted.
            ContainerStartError: a container did not start; the pod remains and keeps its devices.
        """
        pod = Pod(name, namespace)
        process = self._process_for(pod)
        wanted = containers or {container: requests or {}}
        for resource in itertools.chain.from_iterable(wanted.values()):
            if resource not in self.capacity():
                # A kubelet would ignore the resource, but a scheduler does not choose a node without it.
                raise AdmissionError(pod, f"cannot allocate unregistered device {resource}")
        await process.admission.admit(pod, wanted, process.admitted)
        for started in pod.containers.values():
            await process.admission.start(started)
        self._journal.changed()
        for started in pod.containers.values():
            if not started.started:
                raise ContainerStartError(pod, started)
        return pod

    async def start_container(self, pod: Pod, container: str = "main") -> None:
        """Start a container again, as the kubelet does after it exits.

        Raises:
            ContainerStartError: a plugin returned an error.
        """
        found = pod.containers[container]
        if self._process is None:
            raise RuntimeError("the kubelet is not running, so no container can be started")
        await self._process.admission.start(found)
        self._journal.changed()
        if not found.started:
            raise ContainerStartError(pod, found)

    async def remove(self, pod: Pod | str, namespace: str = "default") -> None:
        """Remove a pod and free its devices; plugins are not notified.

        Raises:
            LookupError: there is no such pod.
        """
        key = pod.key if isinstance(pod, Pod) else f"{namespace}/{pod}"
        removed = self._pods.pop(key, None)
        if removed is None:
            raise LookupError(f"there is no pod {key}")
        if self._process:
            await self._process.removed(removed)

    def _process_for(self, pod: Pod) -> KubeletProcess:
        if pod.key in self._pods:
            raise ValueError(f"pod {pod.key} already exists; remove it first")
        if self._process is None:
            raise AdmissionError(pod, "the kubelet not running")
        return self._process

    async def _end(self, *, clean: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            await _completed(process.stop(clean=clean))

    def _hold_identity(self, descriptor: int | None) -> None:
        """Keep the inode number of the last kubelet.sock in use until the next one has its own.

        Plugins distinguish kubelets by inode and change time, and file systems reuse both within milliseconds.
        """
        if self._socket_identity is not None:
            os.close(self._socket_identity)
        self._socket_identity = descriptor

    def _describe(self) -> str:
        if not self.running:
            return "the kubelet is not running"
        known = [
            f"{resource} has {found.allocatable} of {found.capacity} devices allocatable"
            for resource, found in self.capacity().items()
        ]
        rejected = [f"{r.resource} was rejected ({r.error})" for r in self.registrations if r.error]
        return "; ".join([*known, *rejected[-1:]]) or "no resource is known"


async def _completed(work: Coroutine[None, None, None]) -> None:
    """Complete a coroutine even if this task is cancelled: a gRPC server must not outlive its event loop."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
