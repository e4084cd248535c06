"""The DRA manager of a real kubelet, in place of the fake one.

The program in tests/dra contains Kubernetes' own code. This module gives it the interface of
`hub.testing.dra.process.DraProcess`, so that a `DraKubelet` can start it and a test notices no difference.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from hub.testing.dra import ClaimPod, DeviceHealth, DraError, DraKubelet, DraOptions, DriverRegistration
from hub.testing.dra.process import DraProcess
from hub.testing.kubelet.model import DynamicResource
from tests.harness.drabuild import VERSIONS, binary
from tests.harness.kubeletprogram import Answer, KubeletEndedError, Program

_FIXED = {"info_timeout": 1.0, "health_retry": 5.0, "registers_in_reverse": False}
"""The values that a test cannot choose in a real kubelet."""

_STOPPED = "the kubelet has stopped"


class _Instance(msgspec.Struct):
    endpoint: str
    connected: bool


class _Instances(msgspec.Struct):
    event: str
    instances: dict[str, list[_Instance]]


class _Health(msgspec.Struct, rename="camel"):
    health: str
    resource_id: str = msgspec.field(name="resourceID")
    message: str | None = None


class _ResourceStatus(msgspec.Struct):
    name: str
    resources: list[_Health]


class RealDraProcess(DraProcess):
    """A process with the DRA manager and the plugin manager of a kubelet.

    It takes the same parameters as `DraProcess`. It does not report which attempts to register a driver failed, and the
    pod resources API does not show its devices.
    """

    version: ClassVar[str]

    def __init__(
        self,
        root: Path,
        options: DraOptions,
        pods: Mapping[str, ClaimPod],
        *,
        number: int,
        noted: Callable[[DriverRegistration], None],
        changed: Callable[[], None],
    ) -> None:
        if any(getattr(options, name) != value for name, value in _FIXED.items()):
            pytest.skip(f"a real kubelet has fixed values of {', '.join(_FIXED)}")
        self._options = options
        self._pods = pods
        self._number = number
        self._noted = noted
        self._changed = changed
        self._instances: dict[str, list[tuple[str, bool]]] = {}
        times = ("reconcile_period", "wiping_delay", "call_timeout", "registry_period")
        words = [f"--{name.replace('_', '-')}={getattr(options, name)}s" for name in times]
        words += [f"--root={root}", f"--server={options.server}", f"--token={options.token}", f"--node={options.node}"]
        words += [f"--authority={options.authority or ''}"]
        self._program = Program([str(binary(self.version)), *words], _Instances, self._happened)

    async def start(self) -> None:
        """Start with the pods that are on the node."""
        await self._program.start()
        await self._ask("start", pods=[describe(pod) for pod in self._pods.values()])

    async def stop(self) -> None:
        """End at once; a kubelet has nothing to do when it stops."""
        await self._program.end(clean=False)
        self._instances = {}
        self._changed()

    async def prepare(self, pod: ClaimPod) -> None:
        """Prepare the claims of a pod, once.

        Raises:
            DraError: the call failed.
        """
        await self._ask("prepare", pod=describe(pod))

    async def unprepare(self, pod: ClaimPod) -> None:
        """Unprepare the claims of a pod, once.

        Raises:
            DraError: the call failed.
        """
        await self._ask("unprepare", pod=describe(pod))

    async def forget(self, pod: ClaimPod) -> None:
        """Remove a pod from those that the kubelet has."""
        await self._ask("forget", pod=describe(pod))

    async def cdi_devices(self, pod: ClaimPod, container: str) -> list[str]:
        """Return the CDI names that a container gets.

        Raises:
            DraError: a claim of the pod is not known.
        """
        answer = await self._ask("cdi-devices", pod=describe(pod), container=container)
        return list(answer.result or ())

    async def health(self, pod: ClaimPod) -> dict[str, dict[str, list[DeviceHealth]]]:
        """Return the health in the status of a pod."""
        answer = await self._ask("health", pod=describe(pod))
        found = msgspec.convert(answer.result, dict[str, list[_ResourceStatus] | None])
        return {
            container: {
                status.name: [DeviceHealth(one.resource_id, one.health, one.message or "") for one in status.resources]
                for status in statuses or ()
            }
            for container, statuses in found.items()
        }

    def instances(self) -> dict[str, list[tuple[str, bool]]]:
        """Return the endpoints of each driver's instances, and whether each is connected."""
        return self._instances

    async def devices(self, pod: ClaimPod, container: str) -> list[DynamicResource]:
        """Return nothing: the program has no pod resources API."""
        del pod, container
        return []

    async def _ask(self, do: str, **fields: Any) -> Answer:  # noqa: ANN401 - a command's fields
        try:
            answer = await self._program.send(do, **fields)
        except KubeletEndedError:
            raise DraError(_STOPPED) from None
        if answer.error:
            raise DraError(answer.error)
        return answer

    def _happened(self, what: _Instances) -> None:
        before = {endpoint for found in self._instances.values() for endpoint, _ in found}
        self._instances = {
            driver: [(each.endpoint, each.connected) for each in found] for driver, found in what.instances.items()
        }
        for driver, found in self._instances.items():
            for endpoint, _ in found:
                if endpoint not in before:
                    self._noted(DriverRegistration("", driver, endpoint, self._number, time.monotonic()))
        self._changed()


def real_dra(version: str) -> type[RealDraProcess]:
    """Return the type of process that a `DraKubelet` has to start for this version."""
    return type("DraProcess", (RealDraProcess,), {"version": version})


def choose(version: str) -> None:
    """Make every `DraKubelet` of this process start this version, if it supports dynamic resource allocation.

    Raises:
        FileNotFoundError: it is not built.
    """
    if version in VERSIONS:
        if not binary(version).exists():
            raise FileNotFoundError(f"DRA {version} is not built: run `make test-kubelet KUBELETS={version}`")
        DraKubelet.dra_process_type = real_dra(version)


def describe(pod: ClaimPod) -> dict[str, Any]:
    """Describe a pod for the program."""
    containers = [
        {
            "name": name,
            "claims": [{"name": use.name, "request": use.request} for use in pod.containers.get(name, ())],
            "resources": {use.resource: 1 for use in pod.extended if use.container == name},
        }
        for name in pod.all_containers()
    ]
    described: dict[str, Any] = {
        "uid": pod.uid,
        "name": pod.name,
        "namespace": pod.namespace,
        "claims": [{"name": name, "claim": claim} for name, claim in pod.claims.items()],
        "containers": containers,
    }
    if pod.extended_claim:
        described["extended"] = {"claim": pod.extended_claim, "mappings": [use._asdict() for use in pod.extended]}
    return described
