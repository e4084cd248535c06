"""A scheduler that allocates claims from ResourceSlices: the first devices that fit, in slice order.

It supports device classes, selectors (see `cel`), counts, taints and tolerations, alternatives, matchAttribute,
administrative access, extended resources, and which pools are complete. It does not support counters,
consumable capacity or binding conditions.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from hub.base.errors import HubError
from hub.testing.apiserver.fitting import ChosenDevice, Constraint, Problem, demands
from hub.testing.apiserver.kinds import CLAIMS, CLASSES, NODES, SLICES, Object
from hub.testing.apiserver.pools import candidates, untolerated
from hub.testing.apiserver.server import FakeApiServer

_EXTENDED_SUFFIX = 5
_IMPLICIT_PREFIX = "deviceclass.resource.kubernetes.io/"


class AllocationError(HubError):
    """A claim that cannot be allocated now."""


class RequestMapping(NamedTuple):
    """The request of a claim for extended resources that corresponds to one resource of a container."""

    container: str
    resource: str
    request: str


class ExtendedClaim(NamedTuple):
    """The claim that the scheduler makes for the extended resources of a pod."""

    name: str
    mappings: tuple[RequestMapping, ...]


class Scheduler:
    """Allocates devices to claims, and reserves claims for pods.

    Args:
        server: The API server with the slices, claims and classes.
    """

    def __init__(self, server: FakeApiServer) -> None:
        self._server = server
        self._store = server.store

    def allocate(self, name: str, node: str, namespace: str = "default") -> Object:
        """Allocate devices of a node to a claim that has none, and return the claim.

        Raises:
            AllocationError: there are no devices for it.
        """
        claim = self._store.get(CLAIMS, name, namespace)
        if (claim.get("status") or {}).get("allocation"):
            return claim
        devices = claim["spec"].get("devices") or {}
        classes = {each["metadata"]["name"]: each for each in self._store.list(CLASSES)}
        try:
            requests = [demands(each, classes) for each in devices.get("requests") or ()]
        except KeyError as error:
            raise AllocationError(f"claim {namespace}/{name}: there is no DeviceClass {error}") from None
        constraints = [
            Constraint(each["matchAttribute"], each.get("requests") or ())
            for each in devices.get("constraints") or ()
            if "matchAttribute" in each
        ]
        offered = candidates(self._store.list(SLICES), node)
        chosen = Problem(requests, constraints, offered, self._used()).solve()
        if chosen is None:
            raise AllocationError(f"claim {namespace}/{name}: cannot allocate all devices on the node {node}")
        claim["status"] = {**(claim.get("status") or {}), "allocation": _allocation(claim, chosen, classes, node)}
        return self._store.replace(CLAIMS, claim, namespace)

    def reserve(self, name: str, pod: str, uid: str, namespace: str = "default") -> Object:
        """Reserve an allocated claim for a pod, and return the claim."""
        claim = self._store.get(CLAIMS, name, namespace)
        consumers = claim["status"].setdefault("reservedFor", [])
        if uid not in (each["uid"] for each in consumers):
            consumers.append({"resource": "pods", "name": pod, "uid": uid})
        return self._store.replace(CLAIMS, claim, namespace)

    def release(self, name: str, uid: str, namespace: str = "default") -> Object:
        """End the use of a claim by a pod; if no other pod uses the claim, its devices become free."""
        claim = self._store.get(CLAIMS, name, namespace)
        status = claim.get("status") or {}
        status["reservedFor"] = [each for each in status.get("reservedFor") or () if each["uid"] != uid]
        claim["status"] = status if status["reservedFor"] else {}
        return self._store.replace(CLAIMS, claim, namespace)

    def extend(
        self, pod: str, containers: Mapping[str, Mapping[str, int]], node: str, namespace: str = "default"
    ) -> ExtendedClaim | None:
        """Create and allocate a claim for the extended resources of a pod, and return it.

        Return None if the containers need no claim: a device plugin serves a resource of which the node has allocatable
        devices. A pod can use the claim after `reserve`.

        Raises:
            AllocationError: a resource has no class, its feature gate is off, or there are no devices.
        """
        allocatable = (self._store.get(NODES, node).get("status") or {}).get("allocatable") or {}
        requests, mappings = [], []
        for index, (container, sizes) in enumerate(containers.items()):
            wanted = {name: count for name, count in sizes.items() if count and int(allocatable.get(name, 0)) == 0}
            for number, (resource, count) in enumerate(wanted.items()):
                request = f"container-{index}-request-{number}"
                exactly = {"deviceClassName": self._class_of(resource), "allocationMode": "ExactCount", "count": count}
                requests.append({"name": request, "exactly": exactly})
                mappings.append(RequestMapping(container, resource, request))
        if not requests:
            return None
        name = f"{pod}-extended-resources-{uuid.uuid4().hex[:_EXTENDED_SUFFIX]}"
        self._store.create(CLAIMS, {"metadata": {"name": name}, "spec": {"devices": {"requests": requests}}}, namespace)
        try:
            self.allocate(name, node, namespace)
        except AllocationError:
            self._store.delete(CLAIMS, name, namespace)
            raise
        return ExtendedClaim(name, tuple(mappings))

    def evicted(self) -> list[tuple[str, str]]:
        """Return the namespaces and UIDs of the pods that a NoExecute taint evicts, as in kube-controller-manager."""
        tainted = {
            (spec["driver"], spec["pool"]["name"], device["name"]): device
            for spec in (each["spec"] for each in self._store.list(SLICES))
            for device in spec.get("devices") or ()
        }
        return [
            (claim["metadata"]["namespace"], pod["uid"])
            for claim, result in self._results()
            if untolerated(tainted.get(_key(result), {}), result.get("tolerations") or (), ["NoExecute"])
            for pod in claim["status"].get("reservedFor") or ()
        ]

    def _class_of(self, resource: str) -> str:
        """Return the class of an extended resource; the newest if there are several."""
        if resource.startswith(_IMPLICIT_PREFIX):
            return resource.removeprefix(_IMPLICIT_PREFIX)
        if not self._server.has_gate("DRAExtendedResource"):
            raise AllocationError(f"no allocatable {resource}: the feature gate DRAExtendedResource is off")
        classes = [each for each in self._store.list(CLASSES) if each["spec"].get("extendedResourceName") == resource]
        if not classes:
            raise AllocationError(f"no allocatable {resource}, and no DeviceClass with this extendedResourceName")
        newest = max(classes, key=lambda each: int(each["metadata"]["resourceVersion"]))
        return str(newest["metadata"]["name"])

    def _used(self) -> frozenset[tuple[str, str, str]]:
        return frozenset(_key(result) for _, result in self._results() if not result.get("adminAccess"))

    def _results(self) -> Iterator[tuple[Object, Object]]:
        """Yield each device that is allocated, with its claim."""
        for claim in self._store.list(CLAIMS):
            allocation = (claim.get("status") or {}).get("allocation") or {}
            for result in (allocation.get("devices") or {}).get("results") or ():
                yield claim, result


def _allocation(claim: Object, chosen: Iterable[ChosenDevice], classes: Mapping[str, Object], node: str) -> Object:
    results: list[Object] = []
    configs: list[Object] = []
    of_class: dict[str, list[str]] = {}
    for each in chosen:
        driver, pool, device = each.candidate.key
        result: Object = {"request": each.demand.name, "driver": driver, "pool": pool, "device": device}
        if each.demand.admin:
            result["adminAccess"] = True
        if each.demand.tolerations:
            result["tolerations"] = list(each.demand.tolerations)
        results.append(result)
        users = of_class.setdefault(each.demand.class_name, [])
        if each.demand.name not in users:
            users.append(each.demand.name)
    for name, requests in of_class.items():
        of_this = classes[name]["spec"].get("config") or ()
        configs += [{"source": "FromClass", "requests": requests, **config} for config in of_this]
    configs += [{"source": "FromClaim", **config} for config in claim["spec"]["devices"].get("config") or ()]
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    devices = {"results": results, "config": configs} if configs else {"results": results}
    return {"devices": devices, "nodeSelector": {"nodeSelectorTerms": [term]}}


def _key(result: Object) -> tuple[str, str, str]:
    return result["driver"], result["pool"], result["device"]
