"""The base class of fuzzing targets."""

from pathlib import Path
from typing import ClassVar

from hub.base.errors import HubError
from tests.fuzz.choices import Choices
from tests.fuzz.pieces import Input


class Fault(AssertionError):
    """Something that a user relies on does not hold; the text is the same for all inputs that show it."""


class Target:
    """A part of the code that gets external input, and how its inputs are made.

    Args:
        directory: An empty directory with a short path, for whatever it needs.
    """

    inputs: ClassVar[int] = 1250
    """How many of the target's inputs `make test` consumes."""
    declared: ClassVar[tuple[type[Exception], ...]] = (HubError,)
    """The errors with which the target may answer an input."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def make(self, choices: Choices) -> Input:
        """Create an input."""
        raise NotImplementedError

    def consume(self, pieces: Input) -> None:
        """Give the code an input. An exception that is not declared is a finding."""
        raise NotImplementedError

    def server(self) -> int | None:
        """Return the process that consumes the inputs, if it is not this one."""

    def close(self) -> None:
        """Stop everything that was started."""
