"""Which containers used which devices of a plugin, and for how long.

All times are whole seconds since the epoch: they add up without rounding errors, so a sum of them never falls.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from hub.base.untrusted import Integer


class HealthChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change in a device's health while a container used the device."""

    time: Integer
    """Unix time."""
    health: str
    """healthy, unhealthy or recovering."""
    reason: str = ""
    """Why it is not healthy."""


class Allocation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One device that one container used."""

    resource: str
    device: str
    """Its id."""
    holder: Annotated[str, msgspec.Meta(pattern="^[^/]*/[^/]*/")]
    """The container, as "namespace/pod/container"."""
    since: Integer
    """Unix time of the kubelet's first response with this container."""
    until: Integer = 0
    """Unix time of the first response without it; 0 while it uses the device."""
    physical: str = ""
    """The physical device that it is a share of, if it is one."""
    health: tuple[HealthChange, ...] = ()
    """The latest changes in its health in that time; the first may be that it was not healthy when this began."""


class DeviceSeconds(msgspec.Struct, frozen=True):
    """The sum of the times for which containers used devices. A share of a device counts as a device."""

    resource: str
    namespace: str
    seconds: Integer


class AllocationHistory(msgspec.Struct, frozen=True):
    """The history of one plugin's devices on a node."""

    allocations: tuple[Allocation, ...] = ()
    """The latest allocations that have ended, oldest first; then those that have not."""
    ended: tuple[DeviceSeconds, ...] = ()
    """The total of all allocations that have ended, including those that are no longer listed."""


class NodeHistory(msgspec.Struct, frozen=True):
    """The allocations of all plugins of a node: `/history` is this as JSON."""

    plugins: Mapping[str, tuple[Allocation, ...]] = {}
    """Keyed by plugin, in file order."""
    unreadable: Mapping[str, str] = {}
    """Plugins whose history cannot be read, each with the reason."""
