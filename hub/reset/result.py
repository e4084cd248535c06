"""How a reset went."""

from enum import StrEnum
from typing import Self

import msgspec


class Outcome(StrEnum):
    """How a reset went."""

    OK = "ok"
    FAILED = "failed"
    """It raised an exception."""
    TIMED_OUT = "timed out"
    """It had not ended, or not even begun, at the deadline."""
    CRASHED = "crashed"
    """Its process ended without a result, or could not be started."""
    STUCK = "abandoned"
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
