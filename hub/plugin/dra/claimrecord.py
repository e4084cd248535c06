"""The record of one claim, and what it says about its devices."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from hub.model.dra import ClaimResult


class ClaimState(StrEnum):
    """The state of a claim."""

    PREPARING = "preparing"
    PREPARED = "prepared"
    RESETTING = "resetting"
    """The pod has terminated, and the devices are being reset."""
    RELEASED = "released"


class PreparedDevice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One device of a claim, as the kubelet gets it."""

    result: ClaimResult
    resource: str = ""
    id: str = ""
    """The plugin's id of the device; empty while that is not known."""
    cdi: tuple[str, ...] = ()
    """The CDI names given to a container that uses the device."""


class ClaimRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One claim."""

    uid: str
    namespace: str
    name: str
    state: ClaimState
    since: float
    """Unix time."""
    pod: str = ""
    """The pod for which it was prepared; others may share it."""
    devices: tuple[PreparedDevice, ...] = ()
    driver: str = ""
    """The driver that prepared it."""
    spec: str = ""
    """The content of its CDI file; empty if it has none."""

    @property
    def is_active(self) -> bool:
        """Whether it holds its devices."""
        return self.state is not ClaimState.RELEASED

    @property
    def is_resetting(self) -> bool:
        """Whether its pod has terminated, and its devices are being reset."""
        return self.state is ClaimState.RESETTING

    @property
    def holder(self) -> str:
        """The pod and the claim, in the form that names a container that uses a device."""
        return f"{self.namespace}/{self.pod}/claim:{self.name}"

    @property
    def use(self) -> str:
        """Why no other claim gets its devices, to be put after "is"."""
        if self.is_resetting:
            return f"being reset, after {self} was released"
        return f"used by {self.holder}"

    def __str__(self) -> str:
        return f"claim {self.namespace}/{self.name}"


class DeviceHeldError(Exception):
    """A device that another claim holds.

    Args:
        device: The device's name.
        holder: The record of the claim.
    """

    def __init__(self, device: str, holder: ClaimRecord) -> None:
        super().__init__(f"device {device} is held by {holder}, which is still {holder.state}")
        self.holder = holder


def require_free(record: ClaimRecord, others: Iterable[ClaimRecord]) -> None:
    """Check that no other claim holds a device of a claim; admin access to a device does not hold it.

    Raises:
        DeviceHeldError: another claim does.
    """
    wanted = {(each.result.pool, each.result.device) for each in record.devices if not each.result.admin}
    for other in others:
        for each in other.devices:
            held = (each.result.pool, each.result.device)
            if other.uid != record.uid and not each.result.admin and held in wanted:
                raise DeviceHeldError(each.result.device, other)
