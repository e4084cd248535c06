"""Resets, in the background, of the devices of released claims, if the plugin sets `reset_when_released`.

The record of such a claim holds its devices until all of them are reset, so that no process on the node gives one to
another claim. When a process starts, it resets the devices that an earlier one left behind.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from hub.api.device import Device
from hub.api.plugin import overrides
from hub.base.changecount import ChangeCounter
from hub.base.locks import try_lock
from hub.base.ticks import sleep_until_tick
from hub.plugin.dra.claimrecord import ClaimRecord, ClaimState
from hub.plugin.dra.records import ClaimRecords
from hub.plugin.health.keys import physical_key
from hub.plugin.health.record import CORDONS, RESET
from hub.plugin.kubeletapi import ApiParts
from hub.reset.result import Outcome
from hub.reset.runner import KILL_TIMEOUT

SETTLE_SECONDS = 29.0
"""Seconds that a claim waits for resets of its devices: a reset takes at most 26, and stopping it at most 3."""

_OTHER_SECONDS = 2.0
"""Seconds between checks of a reset in another hub's process."""


class ReleasedClaims:
    """The claims of one driver that were released, and whose devices are not reset yet.

    Args:
        parts: The parts of the process.
        driver: The driver's name.
        records: What was prepared for claims.

    Attributes:
        changes: Notified when a claim is added, and when the devices of one have been reset.
    """

    def __init__(self, parts: ApiParts, driver: str, records: ClaimRecords) -> None:
        self.changes = ChangeCounter()
        self._plugin = parts.plugin
        self._inventory = parts.inventory
        self._health = parts.health
        self._ownership = parts.ownership
        self._resets = parts.resets
        self._driver = driver
        self._records = records
        self._claims: dict[str, ClaimRecord] = {}
        """Keyed by uid."""
        self._left: set[str] = set()
        """The uids of the claims whose reset another process may have begun."""
        self._begun: set[str] = set()
        self._reset: set[str] = set()
        """The keys of the devices that no claim has had since their reset."""
        self._had_others = False

    def needs_reset(self, record: ClaimRecord) -> bool:
        """Return whether devices of a claim are to be reset once it is released."""
        if not self._plugin.reset_when_released or record.state is not ClaimState.PREPARED:
            return False
        return bool(list(self._resettable(record)))

    def release(self, record: ClaimRecord) -> None:
        """Release a claim, and have its devices reset.

        Raises:
            OSError: the claim's record cannot be written now.
        """
        record = self._records.begin_reset(record)
        self._claims[record.uid] = record
        self._reset -= set(self._keys(record))
        self._protect()
        self.changes.bump()

    async def settle(self, uid: str, devices: Iterable[tuple[str, Device]]) -> Collection[str]:
        """Wait until devices that a claim requests are no longer being reset.

        Args:
            uid: The claim, which another pod may have had before.
            devices: The devices, each with its resource.

        Returns:
            The keys of the physical devices whose reset has just succeeded.
        """
        wanted = {physical_key(*each) for each in devices}
        waited: set[str] = set()
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while busy := [each for each in self._claims.values() if self._concerns(each, uid, wanted)]:
                    waited |= wanted.intersection(key for each in busy for key in self._keys(each))
                    await self.changes.wait_beyond(self.changes.number)
        except TimeoutError:
            return ()
        done = waited & self._reset
        self._reset -= wanted
        return done

    def check(self) -> None:
        """Notice the claims that another hub's process has left behind."""
        if self._ownership.others or self._had_others:
            self._had_others = bool(self._ownership.others)
            self.changes.bump()

    async def run(self) -> None:
        """Reset devices, until cancelled; if the process exits, the next one continues."""
        self._begun.clear()
        while not self._inventory.scanned or self._inventory.fault:
            # Until then, it is not known which devices there are.
            await self._inventory.changes.wait_beyond(self._inventory.changes.number)
        async with asyncio.TaskGroup() as group:
            while True:
                seen = self.changes.number
                self.find()
                for uid in self._claims.keys() - self._begun:
                    self._begun.add(uid)
                    group.create_task(self._finish(uid))
                await self.changes.wait_beyond(seen)

    def find(self) -> None:
        """Protect the devices of claims that another process has left behind."""
        found = {each.uid: each for each in self._records.active_of(self._driver) if each.is_resetting}
        if left := found.keys() - self._claims.keys():
            self._left |= left
            self._claims |= {uid: found[uid] for uid in left}
            self._protect()

    async def _finish(self, uid: str) -> None:
        """Reset the devices of a claim, unless another process does so, and then free them."""
        # If there is no record, another hub's process has already done so.
        with suppress(FileNotFoundError), self._records.reset_lock(uid) as file:
            while not try_lock(file):
                await sleep_until_tick(_OTHER_SECONDS)
            record = self._records.get(uid)
            if record and record.is_resetting:
                if uid in self._left:
                    # The processes of a reset end only a moment after the plugin's process was killed.
                    await asyncio.sleep(KILL_TIMEOUT)
                await self._reset_devices(record)
                self._records.release(record, refuse=bool(self._ownership.others))
        self._begun.discard(uid)
        self._left.discard(uid)
        del self._claims[uid]
        self._protect()
        self._inventory.publish()
        self.changes.bump()

    async def _reset_devices(self, record: ClaimRecord) -> None:
        keys = list(self._resettable(record))
        outcomes = await asyncio.gather(*map(self._reset_device, keys))
        self._reset |= {key for key, was_reset in zip(keys, outcomes, strict=True) if was_reset}
        # Saved before the record is removed: a device's fault must not be lost with this process.
        self._health.save()

    async def _reset_device(self, key: str) -> bool:
        """Reset a device; return whether that succeeded. If not, the device is unhealthy until a reset succeeds."""
        result = await self._resets.reset_now(key)
        if result.outcome not in {Outcome.OK, Outcome.SKIPPED} and key not in self._health.failing(RESET):
            self._health.fail(key, RESET, result.cause)
        return result.outcome is Outcome.OK

    def _resettable(self, record: ClaimRecord) -> Iterator[str]:
        """Yield the keys of the physical devices of a claim that can be reset now."""
        offered = self._inventory.physical_devices()
        used = self._used_by_others(record)
        for key in self._keys(record):
            shares = offered.get(key, ())
            resources = {device.resource or self._plugin.resource for device in shares}
            is_shared = len(shares) > 1 and not overrides(self._plugin, "reset_blocked")
            is_cordoned = any(source in self._health.record(key).admin_faults for source in CORDONS)
            if shares and not (is_shared or is_cordoned or key in used or self._resets.reset_blocked(resources)):
                yield key

    def _used_by_others(self, record: ClaimRecord) -> Collection[str]:
        return {key for each in self._records.active() if each.uid != record.uid for key in self._keys(each)}

    def _keys(self, record: ClaimRecord) -> Sequence[str]:
        """Return the keys of the physical devices that a claim has, or had."""
        known = {
            (resource, device.id): physical_key(resource, device) for resource, device in self._inventory.all_devices()
        }
        own = ((each.resource, each.id) for each in record.devices if not each.result.admin)
        return list(dict.fromkeys(known[each] for each in own if each in known))

    def _concerns(self, record: ClaimRecord, uid: str, wanted: Collection[str]) -> bool:
        return record.uid == uid or not set(wanted).isdisjoint(self._keys(record))

    def _protect(self) -> None:
        """Keep claims from being allocated these devices, or other shares of them."""
        self._health.set_held(f"released claims of {self._driver}", dict(self._reasons()))

    def _reasons(self) -> Iterator[tuple[tuple[str, str], str]]:
        reasons: Mapping[str, str] = {key: each.use for each in self._claims.values() for key in self._keys(each)}
        for resource, device in self._inventory.all_devices() if reasons else ():
            if reason := reasons.get(physical_key(resource, device)):
                yield (resource, device.id), reason
