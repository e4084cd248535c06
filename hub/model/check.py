"""The result of a plugin's self-check.

The check runs in a process of its own because a plugin's code may crash, hang, and print anything.
"""

from collections.abc import Mapping

import msgspec

from hub.base.untrusted import Integer
from hub.model.plugin import ExcludedDevice, UnmatchedSetting

CHECKED_VARIABLES = "_DPHUB_CHECKED_VARIABLES"
"""Contains the variables of the plugin to check, as JSON, so that they cannot affect how the process starts."""


class FoundDevice(msgspec.Struct, frozen=True):
    """A device that the plugin would advertise."""

    resource: str
    id: str
    unhealthy: str = ""
    """Why it cannot be used; empty when it can."""
    numa: tuple[Integer, ...] = ()
    files: tuple[str, ...] = ()
    """Its device files and mounts, as paths on the node."""
    physical: str = ""
    """The physical device that it is a share of, if it is one."""
    env: Mapping[str, str] = {}
    """Environment variables for the container."""


class CheckReport(msgspec.Struct, frozen=True):
    """The errors of a plugin, and the devices that it would advertise."""

    problems: tuple[str, ...] = ()
    """What will certainly fail."""
    warnings: tuple[str, ...] = ()
    """What is probably a mistake, or will fail later."""
    devices: tuple[FoundDevice, ...] | None = None
    """None if no scan was requested."""
    excluded: tuple[ExcludedDevice, ...] = ()
    unmatched: tuple[UnmatchedSetting, ...] = ()
    """Settings that match nothing."""
    reason: str = ""
    """Why there is no device, if that is not an error."""
    differences: tuple[str, ...] | None = None
    """What changes on a node that migrates from another plugin; None if that was not requested."""
    hardware: tuple[str, ...] | None = None
    """The hardware of the node that the plugin supports; None if that was not requested."""
    loaded: bool = True
    """Whether the plugin's code was loaded; otherwise none of it was checked."""
