"""How a kubelet prepares and unprepares the claims of pods (kubernetes, pkg/kubelet/cm/dra, manager.go)."""

from collections.abc import Callable, Collection, Iterable

from hub.kubelet.wire import dra_pb2 as wire
from hub.testing.apiserver.kinds import Object
from hub.testing.dra.claims import ClaimCache, ClaimInfo, PreparedDevice
from hub.testing.dra.connection import DriverConnection
from hub.testing.dra.drivers import Drivers
from hub.testing.dra.kubeapi import KubeApi
from hub.testing.dra.model import ClaimPod, DraError

Batches = dict[DriverConnection, list[wire.Claim]]
"""The claims of a pod by the driver that prepares them."""


class ClaimManager:
    """Prepares and unprepares claims: the drivers of one pod one after another, those of several pods in parallel.

    Args:
        claims: The claims that it knows.
        drivers: The drivers.
        api: Reads claims.
        version: The Kubernetes version.
        changed: Called after each change.
    """

    def __init__(
        self, claims: ClaimCache, drivers: Drivers, api: KubeApi, version: str, changed: Callable[[], None]
    ) -> None:
        self._claims = claims
        self._drivers = drivers
        self._api = api
        # Fixes of 1.37, which earlier kubelets do not have.
        self._behaves_as_1_37 = version >= "1.37"
        self._changed = changed

    async def prepare(self, pod: ClaimPod) -> None:
        """Prepare the claims of a pod that are not prepared yet, once.

        Raises:
            DraError: the call failed; the caller tries again.
        """
        try:
            await self._prepare(pod)
        except DraError as error:
            raise DraError(f"prepare dynamic resources: {error}") from None

    async def unprepare(self, pod: ClaimPod) -> None:
        """Unprepare the claims that no other pod of the node uses, once.

        Raises:
            DraError: the call failed; the caller tries again.
        """
        known = [claim.state.claim_name for claim in self._claims.of_pod(pod.uid)] if self._behaves_as_1_37 else []
        try:
            await self._unprepare(pod.uid, pod.namespace, known or pod.claim_names())
        except DraError as error:
            raise DraError(f"unprepare dynamic resources: {error}") from None

    async def reconcile(self, active: Collection[str]) -> None:
        """Unprepare the claims of pods that are not active, which were deleted by force; errors wait for the next time.

        Args:
            active: The UIDs of the active pods.
        """
        gone: dict[tuple[str, str], list[str]] = {}
        for claim in self._claims:
            for uid in claim.state.pod_uids.keys() - active:
                gone.setdefault((uid, claim.state.namespace), []).append(claim.state.claim_name)
        failed = 0
        for (uid, namespace), names in gone.items():
            try:
                await self._unprepare(uid, namespace, names)
            except DraError:
                failed += 1
        if len(gone) > failed:
            self._changed()

    def cdi_devices(self, pod: ClaimPod, container: str) -> list[str]:
        """Return the names of the CDI devices that a container gets from the runtime.

        Raises:
            DraError: a claim of the pod is not known.
        """
        found = []
        for name, request in pod.uses(container):
            claim = self._claims.get(name, pod.namespace)
            if claim is None:
                words = f"unable to get claim info for ResourceClaim {name} in namespace {pod.namespace}"
                raise DraError(f"internal error: {words}")
            found += claim.cdi_devices(request)
        return found

    def devices(self, pod: ClaimPod, container: str) -> list[tuple[ClaimInfo, str, PreparedDevice]]:
        """Return what a container uses: the claim, the driver and the device."""
        return [
            (claim, driver, device)
            for name, request in pod.uses(container)
            if (claim := self._claims.get(name, pod.namespace))
            for driver in claim.drivers
            for device in claim.devices(driver)
            if device.serves(request)
        ]

    async def _prepare(self, pod: ClaimPod) -> None:
        found = [await self._read(name, pod) for name in pod.claim_names()]
        connections = {driver: self._drivers.get(driver) for claim in found for driver in ClaimInfo.of(claim).drivers}
        batches: Batches = {}
        waiting: dict[str, ClaimInfo] = {}
        for claim in found:
            info = self._attach(pod, claim)
            if info.prepared:
                continue
            waiting[info.state.claim_uid] = info
            for driver in info.drivers:
                batches.setdefault(connections[driver], []).append(_wire(info))
        for connection, claims in batches.items():
            answer = await connection.prepare(claims)
            for uid, result in answer.claims.items():
                _check("NodePrepareResources", claims, uid, result.error)
                self._store(waiting[uid], connection.driver, result.devices)
            _check_complete("NodePrepareResources", claims, answer.claims)
        for info in waiting.values():
            self._known(info).prepared = True
        self._claims.save()
        self._changed()

    async def _read(self, name: str, pod: ClaimPod) -> Object:
        """Return a claim that the pod may use.

        Raises:
            DraError: it does not exist, or is not for the pod.
        """
        claim = await self._api.claim(name, pod.namespace)
        status = claim.get("status") or {}
        if pod.uid not in (each.get("uid") for each in status.get("reservedFor") or ()):
            uid = claim["metadata"]["uid"]
            raise DraError(f"pod {pod.name} ({pod.uid}) is not allowed to use ResourceClaim {name} ({uid})")
        if not status.get("allocation"):
            raise DraError(f"ResourceClaim {name}: not allocated")
        return claim

    def _attach(self, pod: ClaimPod, claim: Object) -> ClaimInfo:
        """Record that a pod uses a claim, before any driver is called.

        Raises:
            DraError: another claim of this name is not unprepared yet.
        """
        metadata = claim["metadata"]
        info = self._claims.get(metadata["name"], pod.namespace)
        if info is None:
            info = ClaimInfo.of(claim)
            self._claims.add(info)
        elif info.state.claim_uid != metadata["uid"]:
            words = f"old ResourceClaim with same name {metadata['name']} and different UID {info.state.claim_uid}"
            raise DraError(f"{words} still exists (previous pod force-deleted?!)")
        elif info.unpreparing:
            raise DraError(f"ResourceClaim {metadata['name']} is being unprepared")
        info.state.pod_uids[pod.uid] = {}
        self._claims.save()
        self._changed()
        return info

    def _store(self, info: ClaimInfo, driver: str, devices: Iterable[wire.Device]) -> None:
        """Store the driver's devices, instead of those from an earlier response; before 1.37, in addition to them."""
        found = [
            PreparedDevice(
                each.pool_name,
                each.device_name,
                each.share_id if each.HasField("share_id") else None,
                list(each.request_names) or None,
                list(each.cdi_device_ids) or None,
            )
            for each in devices
        ]
        self._known(info).add_devices(driver, found, instead=self._behaves_as_1_37)

    def _known(self, info: ClaimInfo) -> ClaimInfo:
        """Return the claim as it is known now.

        Raises:
            DraError: it was unprepared meanwhile.
        """
        state = info.state
        found = self._claims.get(state.claim_name, state.namespace)
        if found is None:
            words = f"unable to get claim info for ResourceClaim {state.claim_name} in namespace {state.namespace}"
            raise DraError(f"internal error: {words}")
        return found

    async def _unprepare(self, uid: str, namespace: str, names: Iterable[str]) -> None:
        ending: list[ClaimInfo] = []
        batches: dict[str, list[wire.Claim]] = {}
        for name in names:
            info = self._claims.get(name, namespace)
            if info is None or (self._behaves_as_1_37 and uid not in info.state.pod_uids):
                continue
            if len(info.state.pod_uids) > 1:
                info.state.pod_uids.pop(uid, None)
                continue
            info.unpreparing = self._behaves_as_1_37
            ending.append(info)
            for driver in info.drivers:
                batches.setdefault(driver, []).append(_wire(info))
        for driver, claims in batches.items():
            answer = await self._drivers.get(driver).unprepare(claims)
            for claim_uid, result in answer.claims.items():
                _check("NodeUnprepareResources", claims, claim_uid, result.error)
            _check_complete("NodeUnprepareResources", claims, answer.claims)
        for info in ending:
            self._claims.remove(info.state.claim_name, namespace)
        self._claims.save()
        self._changed()


def _wire(info: ClaimInfo) -> wire.Claim:
    state = info.state
    return wire.Claim(namespace=state.namespace, uid=state.claim_uid, name=state.claim_name)


def _check(call: str, asked: Iterable[wire.Claim], uid: str, error: str) -> None:
    """Check one entry of a response.

    Raises:
        DraError: the claim was not asked for, or failed.
    """
    claim = next((each for each in asked if each.uid == uid), None)
    if claim is None:
        raise DraError(f"{call} returned result for unknown claim UID {uid}")
    if error:
        raise DraError(f"{call} failed for ResourceClaim {claim.name}: {error}")


def _check_complete(call: str, asked: Collection[wire.Claim], answered: Collection[str]) -> None:
    """Check that a response has an entry for each claim.

    Raises:
        DraError: it does not.
    """
    if missing := len(asked) - len(answered):
        raise DraError(f"{call} skipped {missing} ResourceClaims")
