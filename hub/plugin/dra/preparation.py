"""What happens when a pod gets a claim: the devices are reserved, reset and allocated, and a CDI file is written.

A call may be repeated, may overlap an earlier one for the same claim, and may be the last one before the process is
killed. So every step is recorded before it takes effect, and a repeated call returns the recorded response.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from hub.api.cdi import CDI_DIRECTORY
from hub.api.device import Allocation
from hub.base.changecount import ChangeCounter
from hub.base.log import get_logger
from hub.model.dra import ClaimResult
from hub.plugin.dra.allocating import Allocator, ClaimRejected, Group
from hub.plugin.dra.cdifile import ClaimCdiFiles, cdi_device, cdi_kind, claim_spec
from hub.plugin.dra.claimlocks import ClaimLocks
from hub.plugin.dra.claimrecord import ClaimRecord, ClaimState, DeviceHeldError, PreparedDevice
from hub.plugin.dra.component import Component
from hub.plugin.dra.held import HeldDevices
from hub.plugin.dra.mapping import DraDevice
from hub.plugin.dra.publication import DraDevices
from hub.plugin.dra.records import ClaimRecords
from hub.plugin.dra.released import ReleasedClaims
from hub.plugin.health.keys import physical_key
from hub.plugin.kubeletapi import ApiParts
from hub.plugin.ownership import Role

_NOT_USED = "the plugin no longer serves the DRA driver {driver}: see `api` and `driver` in circus.ini"


class Preparation:
    """Prepares and releases the claims of one driver.

    Args:
        parts: The parts of the process.
        driver: The driver's name.
        devices: The devices, as claims name them.
        component: Reads claims.
        records: What was prepared.
        released: Resets devices after the release of their claim.
        held: What other APIs allocated; None for a driver that is no longer used, which prepares no more claims.

    Attributes:
        changes: Notified when a claim is prepared or released.
        failing: By resource, why the last allocations failed, if all of the last few did.
    """

    def __init__(
        self,
        parts: ApiParts,
        driver: str,
        *,
        devices: DraDevices,
        component: Component,
        records: ClaimRecords,
        released: ReleasedClaims,
        held: HeldDevices | None,
    ) -> None:
        self.changes = ChangeCounter()
        self._held = held
        self._ownership = parts.ownership
        self._inventory = parts.inventory
        self._resets = parts.resets
        self._holders = parts.holders
        self._driver = driver
        self._devices = devices
        self._component = component
        self._records = records
        self._released = released
        self._files = ClaimCdiFiles(driver, parts.plugin.host.path(CDI_DIRECTORY))
        self._allocator = Allocator(parts.plugin)
        self.failing = self._allocator.failing
        self._locks = ClaimLocks()
        self._log = get_logger()

    def restore(self) -> None:
        """Write the missing CDI files of prepared claims, and remove those that belong to no claim.

        Raises:
            OSError: the files cannot be written or removed.
        """
        own = self._records.active_of(self._driver)
        self._files.restore({each.uid: each.spec.encode() for each in own if each.spec})

    async def prepare(self, namespace: str, name: str, uid: str) -> Sequence[PreparedDevice]:
        """Prepare a claim, and return its devices.

        Raises:
            ClaimRejected: the claim cannot be prepared now.
        """
        async with self._locks.of(uid):
            known = self._records.get(uid)
            if known and known.state is ClaimState.PREPARED:
                self._write_file(known)
                return known.devices
            self._require_unreleased(uid)
            if self._held is None:
                raise ClaimRejected(_NOT_USED.format(driver=self._driver))
            answer = await self._component.claim(namespace, name, uid)
            if answer.problem:
                raise ClaimRejected(answer.problem)
            if not answer.results:
                return ()
            now = time.time()
            record = ClaimRecord(uid, namespace, name, ClaimState.PREPARING, now, answer.pod, driver=self._driver)
            return await self._prepare(record, answer.results, self._held)

    async def release(self, uid: str) -> None:
        """Undo what was prepared for a claim; for an unknown claim, there is nothing to undo.

        Raises:
            OSError: the claim's files cannot be written or removed now.
        """
        async with self._locks.of(uid):
            record = self._records.get(uid)
            if record is None and self._ownership.others:
                self._records.refuse(uid)
            if record is not None and record.is_active and not record.is_resetting:
                self._files.remove(uid)
                if self._released.needs_reset(record):
                    self._released.release(record)
                else:
                    self._records.release(record, refuse=bool(self._ownership.others))
                self._log.info("claim released", claim=f"{record.namespace}/{record.name}")
                self._changed()

    async def _prepare(
        self, record: ClaimRecord, results: Sequence[ClaimResult], held: HeldDevices
    ) -> Sequence[PreparedDevice]:
        clean = await self._settle(record.uid, results)
        if self._ownership.role is not Role.ACTIVE or any(self._is_held(result) for result in results):
            # The kubelet's last response may be old; if the claim were rejected, its pod would wait a minute or more.
            await held.refresh()
        groups = self._groups(record.uid, results)
        found = (
            PreparedDevice(each, device.resource, device.device.id)
            for group in groups
            for each, device in group.members
        )
        record = msgspec.structs.replace(record, devices=tuple(found))
        await self._reserve(record)
        try:
            await self._reset(groups, clean)
            allocations = {group.cdi: await self._allocator.allocate(group) for group in groups}
            record = self._prepared(record, groups, allocations)
            self._write_file(record)
            self._finish(record)
        except BaseException:
            # This includes a cancelled call, which the kubelet retries.
            if self._records.withdraw(record):
                self._files.remove(record.uid)
            raise
        self._log.info("claim prepared", claim=f"{record.namespace}/{record.name}", devices=len(record.devices))
        self._changed()
        return record.devices

    def _require_unreleased(self, uid: str) -> None:
        if self._records.is_released(uid):
            raise ClaimRejected("it has just been released: this is most likely a late retry of a call")

    async def _settle(self, uid: str, results: Iterable[ClaimResult]) -> Collection[str]:
        """Wait for resets of the devices; return those whose reset has just succeeded, by their keys.

        If the claim were rejected at once, its pod would wait for a minute or more.

        Raises:
            ClaimRejected: another pod had the claim before, and its devices are not reset yet.
        """
        found = (self._devices.get(each.device) for each in results if not each.admin)
        clean = await self._released.settle(uid, [(each.resource, each.device) for each in found if each])
        # Publish what the resets have changed.
        self._inventory.publish()
        if (known := self._records.get(uid)) and known.is_resetting:
            raise ClaimRejected("it was released, and its devices are still being reset")
        return clean

    def _groups(self, uid: str, results: Sequence[ClaimResult]) -> list[Group]:
        """Group the devices of a claim by request and resource.

        Raises:
            ClaimRejected: a device does not exist, or cannot be used.
        """
        members: dict[tuple[str, str], list[tuple[ClaimResult, DraDevice]]] = {}
        for result in results:
            device = self._devices.get(result.device)
            if device is None:
                raise ClaimRejected(f"device {result.device} does not exist")
            self._require_usable(result, device)
            members.setdefault((result.main_request, device.resource), []).append((result, device))
        numbers: dict[str, int] = {}
        groups = []
        for (request, resource), each in members.items():
            number = numbers[request] = numbers.get(request, -1) + 1
            cdi = cdi_device(uid, request, number)
            groups.append(Group(cdi, resource, [device.device for _, device in each], each))
        return groups

    def _require_usable(self, result: ClaimResult, device: DraDevice) -> None:
        if result.admin:
            return
        if device.health.held:
            raise ClaimRejected(f"device {result.device} is {device.health.held}")
        keys = {each["key"] for each in device.content.get("taints", ())}
        if device.health.reason and not keys <= set(result.tolerated) and "*" not in result.tolerated:
            raise ClaimRejected(f"device {result.device} is not healthy: {device.health.reason}")

    def _is_held(self, result: ClaimResult) -> bool:
        device = self._devices.get(result.device)
        return device is not None and bool(device.health.held)

    async def _reserve(self, record: ClaimRecord) -> None:
        """Reserve the claim's devices.

        Raises:
            ClaimRejected: another claim holds one of them, or another hub's process has released the claim.
        """
        self._require_unreleased(record.uid)
        try:
            self._records.reserve(record)
        except DeviceHeldError as error:
            if not await self._discard(error.holder):
                raise ClaimRejected(str(error)) from None
            self._reserve_again(record)
        except OSError as error:
            raise ClaimRejected(f"its record cannot be written: {error}") from error

    def _reserve_again(self, record: ClaimRecord) -> None:
        try:
            self._records.reserve(record)
        except DeviceHeldError as error:
            raise ClaimRejected(str(error)) from None

    async def _discard(self, holder: ClaimRecord) -> bool:
        """Remove the record of a claim that was never prepared and no longer exists: nothing else would."""
        if holder.state is not ClaimState.PREPARING or holder.uid in self._locks:
            return False
        answer = await self._component.claim(holder.namespace, holder.name, holder.uid)
        if not answer.gone:
            return False
        self._files.remove(holder.uid)
        self._records.remove(holder.uid)
        self._log.info("claim record removed", claim=f"{holder.namespace}/{holder.name}", reason="the claim is gone")
        return True

    async def _reset(self, groups: Iterable[Group], clean: Collection[str]) -> None:
        """Reset the devices, unless they have just been reset or the claim has only admin access to them.

        Raises:
            ClaimRejected: a device could not be reset.
        """
        for group in groups:
            own = [device.device for result, device in group.members if not result.admin]
            own = [device for device in own if physical_key(group.resource, device) not in clean]
            failed = await self._resets.reset_for_container(group.resource, own) if own else ()
            if failed:
                raise ClaimRejected("; ".join(result.message for result in failed))

    def _prepared(
        self, record: ClaimRecord, groups: Sequence[Group], allocations: Mapping[str, Allocation]
    ) -> ClaimRecord:
        """Return the record of a claim that is prepared: the first device of each group has the group's CDI names."""
        devices = []
        for group in groups:
            names = (f"{cdi_kind(self._driver)}={group.cdi}", *allocations[group.cdi].cdi)
            for result, device in group.members:
                devices.append(PreparedDevice(result, device.resource, device.device.id, names))
                names = ()
        spec = msgspec.json.encode(claim_spec(self._driver, allocations)).decode()
        return msgspec.structs.replace(record, state=ClaimState.PREPARED, devices=tuple(devices), spec=spec)

    def _finish(self, record: ClaimRecord) -> None:
        if not self._records.finish(record):
            raise ClaimRejected("another process has released or prepared it in the meantime")

    def _write_file(self, record: ClaimRecord) -> None:
        try:
            self._files.write(record.uid, record.spec.encode())
        except OSError as error:
            raise ClaimRejected(f"its CDI file cannot be written: {error}") from error

    def _changed(self) -> None:
        self.changes.bump()
        self._holders.refresh_soon()
