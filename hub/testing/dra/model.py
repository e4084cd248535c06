"""The data of the DRA side of a fake kubelet: its options, pods with claims, and what it reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hub.base.errors import HubError


@dataclass(frozen=True, slots=True)
class DraOptions:
    """The options of the DRA side; times in seconds. The defaults of the times are a kubelet's own."""

    node: str
    server: str
    """URL of the API server."""
    token: str
    authority: Path | None = None
    """The file with the certificate of the API server's authority; None without TLS."""
    version: str = "1.36"
    """The Kubernetes version: 1.36 or 1.37, which differ."""
    registry_period: float = 1.0
    """Time between checks for sockets that are new or gone."""
    info_timeout: float = 1.0
    """Time for GetInfo."""
    call_timeout: float = 45.0
    """Time for NodePrepareResources and NodeUnprepareResources."""
    prepare_retry: float = 75.0
    """Time until the next attempt for a pod whose claims could not be prepared; a kubelet takes 60 to 90 s."""
    unprepare_retry: float = 10.0
    """Time until the next attempt for a pod that is terminating."""
    reconcile_period: float = 60.0
    """Time between checks for claims whose pods are gone."""
    wiping_delay: float = 30.0
    """Time after which the slices of a driver without a connection are deleted."""
    health_retry: float = 5.0
    """Time until a health stream that has ended is opened again."""
    registers_in_reverse: bool = False
    """Whether sockets that are there at the start are registered in reverse name order. A kubelet takes any order, and
    so does not know which of two instances is the newer one."""


class ClaimUse(NamedTuple):
    """What a container uses: a claim under its name in the pod, or one request of it."""

    name: str
    request: str = ""


class ExtendedUse(NamedTuple):
    """A request of the claim for a pod's extended resources, and which container it is for."""

    container: str
    resource: str
    request: str


@dataclass(frozen=True, slots=True)
class ClaimPod:
    """A pod with claims.

    Args:
        name: The name of the pod.
        uid: Its UID, which is in the `reservedFor` of its claims.
        claims: By name in the pod, the name of the ResourceClaim.
        containers: By container, what it uses.
        namespace: The namespace of the pod and its claims.
        extended_claim: The claim for its extended resources, if it has any.
        extended: The requests of that claim.
    """

    name: str
    uid: str
    claims: Mapping[str, str] = field(default_factory=dict)
    containers: Mapping[str, Sequence[ClaimUse]] = field(default_factory=dict)
    namespace: str = "default"
    extended_claim: str = ""
    extended: Sequence[ExtendedUse] = ()

    def claim_names(self) -> list[str]:
        """Return the names of all its ResourceClaims."""
        return [*self.claims.values(), *([self.extended_claim] if self.extended_claim else [])]

    def uses(self, container: str) -> list[tuple[str, str]]:
        """Return the ResourceClaims that a container uses, each with a request; empty for all requests."""
        own = [(self.claims[use.name], use.request) for use in self.containers.get(container, ())]
        extended = [(self.extended_claim, use.request) for use in self.extended if use.container == container]
        return [*own, *extended]

    def all_containers(self) -> list[str]:
        """Return the names of its containers."""
        return list(dict.fromkeys([*self.containers, *(use.container for use in self.extended)]))


@dataclass(frozen=True, slots=True)
class PodEvent:
    """A failed attempt to prepare or unprepare a pod's claims, as in the pod's events."""

    reason: str
    pod: str
    message: str
    time: float
    """By time.monotonic()."""


@dataclass(frozen=True, slots=True)
class DriverRegistration:
    """An attempt to register a driver."""

    path: str
    """The registration socket."""
    name: str
    """The driver; empty if it did not give its name."""
    endpoint: str
    start: int
    """Which start of the kubelet this was, counting from 1."""
    time: float
    """By time.monotonic()."""
    error: str = ""
    """Why it failed; empty if it succeeded."""


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """The health of a device, as in the status of a pod."""

    resource: str
    """The CDI name of the device, or its driver, pool and name."""
    health: str
    """Healthy, Unhealthy or Unknown."""
    message: str = ""


class DraError(HubError):
    """A failed operation, with the kubelet's text."""
