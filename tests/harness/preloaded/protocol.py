"""What is sent to the server."""

import sys
from collections.abc import Sequence
from typing import NamedTuple

MESSAGE_BYTES = 1 << 20

FILES = 3
"""The number of files that are sent with a request: the standard ones."""

TITLE = " " * 4096
"""An argument that reserves memory for the command lines of the processes."""

_MODULES = ("hub", "hub.plugin", "hub.agent", "hub.dra", "hub.nvsentinel")
HUB = "from hub.cli.commands.run import run; run()"
"""The code that runs a hub; a test may put a change to a module in front of it."""


class Request(NamedTuple):
    """A process to start."""

    command: Sequence[str]
    environment: dict[str, str]
    directory: str
    umask: int
    blocked: Sequence[int]
    """The signals that are blocked when it starts."""
    ignored: Sequence[int]
    """The signals that it ignores when it starts."""
    is_leader: bool
    """Whether it leads its own session."""


def main_of(command: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return the module that a command runs, or the code, with its arguments; None if it is not one of the hub's."""
    program, *words = command
    if program == sys.executable and words[:2] == ["-P", "-m"] and words[2:3] and words[2] in _MODULES:
        return words[2], words[3:]
    if program == sys.executable and words[:2] == ["-c", HUB]:
        return HUB, words[2:]
    return None
