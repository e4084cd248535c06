"""The result of a reset."""

from enum import StrEnum
from typing import Self

import msgspec


class Outcome(StrEnum):
    """The outcome of a reset."""

    OK = "ok"
    FAILED = "failed"
    """The function raised an exception."""
    TIMED_OUT = "timed out"
    """It had not finished, or had not begun, by the deadline."""
    CRASHED = "crashed"
    """Its process exited without a result, or could not be started."""
    STUCK = "stuck"
    """Its process, or that of an earlier reset of the device, survives SIGKILL."""
    SKIPPED = "skipped"
    """It was not allowed at that time."""


class ResetResult(msgspec.Struct, frozen=True):
    """The result of one reset.

    Args:
        outcome: The outcome.
        message: A complete, human-readable sentence: the device, the outcome, the duration.
        seconds: The duration, or the time spent waiting.
        cause: The message without the duration, so that the same failure has the same text every time.
        begun: Whether the reset ran at all; if not, its failure says nothing about the device.
    """

    outcome: Outcome
    message: str
    seconds: float
    cause: str
    begun: bool = True

    @classmethod
    def not_begun(cls, outcome: Outcome, cause: str, seconds: float = 0) -> Self:
        """Create the result of a reset that did not run."""
        return cls(outcome, cause, seconds, cause, begun=False)
