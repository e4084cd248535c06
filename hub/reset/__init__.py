"""Device resets: what the author of a reset writes against, and how a reset went.

A reset is a function `reset(device: ResetDevice, settings: Any) -> None` in a module of the plugin. It runs in a fresh
process of its own, which is killed when it takes too long. What it prints goes to the log.
"""

from enum import StrEnum
from typing import Self

import msgspec


class ResetDevice(msgspec.Struct, frozen=True):
    """The physical device to be made ready for its next container.

    Args:
        id: Its id; what it is shared out as has no part in this.
        nodes: Its device files, as paths of the node.
        host_root: Where the reset finds the node's file system; `Host(device.host_root)` knows the way.
        broken: Why it cannot be used until a reset succeeds; empty when it can. A reset that cannot mend that fails.
    """

    id: str
    nodes: tuple[str, ...] = ()
    host_root: str = "/"
    broken: str = ""


class ResetFailed(Exception):
    """Raised by a reset that did not succeed; exactly this text is the reason that people see.

    Every other exception is a failure too, and has its type's name before its text.
    """


class Outcome(StrEnum):
    """How a reset went."""

    OK = "ok"
    FAILED = "failed"
    """It raised an exception."""
    TIMED_OUT = "timed out"
    """It had not ended, or not even begun, at the deadline."""
    CRASHED = "crashed"
    """Its process ended without a result, or could not be started."""
    ABANDONED = "abandoned"
    """Its process survives SIGKILL, or that of an earlier reset of the device does."""
    SKIPPED = "skipped"
    """It was not allowed now."""


class ResetResult(msgspec.Struct, frozen=True):
    """The result of one reset.

    Args:
        outcome: How it went.
        message: The same for a person, complete: which device, what, after how long.
        seconds: How long it took, or was waited for.
        cause: The message without the time, so that what goes wrong again the same way is told in the same words.
        begun: Whether the device's reset ran at all; what kept it from that is no failure of the device.
    """

    outcome: Outcome
    message: str
    seconds: float
    cause: str
    begun: bool = True

    @classmethod
    def not_begun(cls, outcome: Outcome, cause: str, seconds: float = 0) -> Self:
        """The result of a reset that nobody ran."""
        return cls(outcome, cause, seconds, cause, begun=False)
