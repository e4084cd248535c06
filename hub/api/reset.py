"""What the author of a reset writes against.

A reset is a function `reset(device: ResetDevice, settings: Any) -> None` in a module of the plugin. It runs in a fresh
process of its own, which is killed when it takes too long. What it prints goes to the log.
"""

import msgspec

from hub.api.runtime import Runtime


class ResetDevice(msgspec.Struct, frozen=True):
    """The physical device to be made ready for its next container.

    Args:
        id: Its id; what it is shared out as has no part in this.
        nodes: Its device files, as paths of the node.
        host_root: Where the reset finds the node's file system; `Host(device.host_root)` knows the way.
        runtime: Where the plugin keeps files and locks, as its `runtime` says.
        broken: Why it cannot be used until a reset succeeds; empty when it can. A reset that cannot mend that fails.
    """

    id: str
    nodes: tuple[str, ...] = ()
    host_root: str = "/"
    broken: str = ""
    runtime: Runtime = Runtime()


class ResetFailed(Exception):
    """Raised by a reset that did not succeed; exactly this text is the reason that people see.

    Every other exception is a failure too, and has its type's name before its text.
    """
