"""Messages between the plugin process and the reset processes, as JSON."""

from typing import Any

import msgspec

from hub.api.reset import ResetDevice


class ResetLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one reset.

    Args:
        memory: Bytes of private memory that the reset may write to; address space that is only reserved does not count.
            Keep this below the container's memory limit: above that limit, the kernel may kill all processes of the
            container, because the kubelet configures cgroups v2 in that way.
        processor: Seconds of CPU time.
        files: Open files.
    """

    memory: int = 2 << 30
    processor: int = 60
    files: int = 256


class ResetRequest(msgspec.Struct, frozen=True):
    """The request for one reset.

    Args:
        parent: The process id of the plugin process. If the parent is another process, the reset is no longer needed.
        device: The device to reset.
        settings: The settings from `Plugin.reset_settings`, as JSON values.
        limits: The limits of the reset.
        term_timeout: Seconds between SIGTERM and SIGKILL when the reset has to be stopped.
        directories: The directories of plugins' files, from which the reset can import too.
    """

    parent: int
    device: ResetDevice
    settings: Any
    limits: ResetLimits
    term_timeout: float
    directories: tuple[str, ...] = ()


class ResetReply(msgspec.Struct, frozen=True):
    """The result of a reset whose function returned or raised an exception.

    Args:
        ok: Whether it succeeded.
        message: Why it failed.
        begun: Whether the function was called at all.
    """

    ok: bool
    message: str = ""
    begun: bool = True
