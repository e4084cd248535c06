"""The devices of the node and the pods that have them; what must never happen is recorded."""

import asyncio
import random
from collections.abc import Iterable, Sequence

from hub.api.device import Device
from hub.reset.result import Outcome, ResetResult


class Hardware:
    """A record of the users and resets of devices.

    Args:
        rng: The source of random numbers, which decides how long resets take and which fail.

    Attributes:
        users: The pod that has each device.
        dirty: The devices that a pod has had since their last reset.
        faults: What should not have happened.
        fails: The percentage of resets that fail.
    """

    def __init__(self, rng: random.Random) -> None:
        self.users: dict[str, str] = {}
        self.dirty: set[str] = set()
        self.faults: list[str] = []
        self.fails = 5
        self._rng = rng

    def begin_use(self, pod: str, devices: Iterable[str]) -> None:
        """Give devices to a pod."""
        for device in devices:
            if device in self.users:
                self.faults.append(f"{device} was given to {pod} while {self.users[device]} had it")
            if device in self.dirty:
                self.faults.append(f"{device} was given to {pod} without a reset")
            self.users[device] = pod
            self.dirty.add(device)

    def end_use(self, devices: Iterable[str]) -> None:
        """Take devices from a pod."""
        for device in devices:
            self.users.pop(device, None)

    async def reset(self, device: str) -> ResetResult:
        """Reset a device."""
        self._require_unused(device)
        await asyncio.sleep(self._rng.random() * 0.004)
        self._require_unused(device)
        failed = self._rng.randrange(100) < self.fails
        if not failed:
            self.dirty.discard(device)
        outcome = Outcome.FAILED if failed else Outcome.OK
        return ResetResult(outcome, f"reset of {device}: {outcome}", 0.0, f"reset of {device}: {outcome}")

    def _require_unused(self, device: str) -> None:
        if device in self.users:
            self.faults.append(f"{device} was reset while {self.users[device]} had it")


class Resets:
    """The resets of one process.

    Args:
        hardware: The devices.
    """

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware

    async def reset_now(self, key: str) -> ResetResult:
        """Reset a device in the background."""
        return await self._hardware.reset(key.rsplit(" ", maxsplit=1)[-1])

    async def reset_for_container(self, _resource: str, devices: Sequence[Device]) -> Sequence[ResetResult]:
        """Reset the devices of a container, and return the failures."""
        results = [await self._hardware.reset(each.id) for each in devices]
        return [result for result in results if result.outcome is not Outcome.OK]

    def reset_blocked(self, _resources: Iterable[str]) -> str:
        """Return why devices are never reset."""
        return ""
