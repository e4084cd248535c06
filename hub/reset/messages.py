"""What the plugin process and the processes of a reset say to each other, as JSON."""

from typing import Any

import msgspec

from hub.api.reset import ResetDevice


class ResetLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a reset may use at most.

    Args:
        memory: Bytes of address space. Keep it below the container's memory limit: beyond that the kernel may kill
            every process of the container, as the kubelet asks it to where cgroups have version 2.
        processor: Seconds of processor time.
        files: Open files.
    """

    memory: int = 2 << 30
    processor: int = 60
    files: int = 256


class ResetRequest(msgspec.Struct, frozen=True):
    """What a reset is given.

    Args:
        parent: The process id of who asks. When that is no longer the parent, nobody wants the reset any more.
        device: What to reset.
        settings: The plugin's settings, as JSON has them.
        limits: What it may use.
        grace: Seconds between SIGTERM and SIGKILL when it has to end.
    """

    parent: int
    device: ResetDevice
    settings: Any
    limits: ResetLimits
    term_timeout: float


class ResetReply(msgspec.Struct, frozen=True):
    """How a reset ended that came to an end of its own.

    Args:
        ok: Whether it succeeded.
        message: Why it did not.
    """

    ok: bool
    message: str = ""
