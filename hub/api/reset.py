"""The types that the reset function of a plugin uses.

A reset is a function `reset(device: ResetDevice, settings: Any) -> None` in a module of the plugin. It runs in a new
process, which is killed when it takes too long. What it prints goes to the log.
"""

import msgspec

from hub.api.runtime import Runtime


class ResetDevice(msgspec.Struct, frozen=True):
    """The physical device to reset for its next container.

    Args:
        id: The id of the physical device, not of its shares.
        nodes: Its device files, as paths on the node.
        host_root: Where the node's file system is mounted here; use it as `Host(device.host_root)`.
        runtime: Where the plugin keeps files and locks: its own `runtime`.
        broken: Why the device cannot be used until a reset succeeds; empty when it can. A reset that cannot fix this
            must fail.
    """

    id: str
    nodes: tuple[str, ...] = ()
    host_root: str = "/"
    broken: str = ""
    runtime: Runtime = Runtime()


class ResetFailed(Exception):
    """Raised by a reset that did not succeed; exactly this text is shown as the reason.

    All other exceptions are failures too; their reason begins with the name of the exception's type.
    """
