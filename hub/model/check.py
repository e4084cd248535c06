"""What a plugin process that only checks itself has found, and how to have that done.

The process is another one because a plugin's code may crash, hang, and print whatever it likes.
"""

import msgspec

from hub.model.plugin import ExcludedDevice


class FoundDevice(msgspec.Struct, frozen=True):
    """A device that the plugin would offer."""

    resource: str
    id: str
    unhealthy: str = ""
    """Why it cannot be used; empty when it can."""
    numa: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    """Its device files, and the files and directories that come with it, as paths of the node."""


class CheckReport(msgspec.Struct, frozen=True):
    """What is wrong with a plugin, and what it would offer."""

    problems: tuple[str, ...] = ()
    """What will certainly fail."""
    warnings: tuple[str, ...] = ()
    """What is most likely a mistake, or will go wrong later."""
    devices: tuple[FoundDevice, ...] | None = None
    """None where nobody asked for them."""
    excluded: tuple[ExcludedDevice, ...] = ()
    reason: str = ""
    """Why there is no device, where that is no fault."""
