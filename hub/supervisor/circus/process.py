"""How a plugin's process is started: circus's way, and a few things that its child does first."""

import os
import shlex
import signal
import sys
from subprocess import SubprocessError
from typing import Any

from circus.process import Process

from hub.base.exits import Exit
from hub.base.prctl import set_death_signal

_HUB_PID = os.getpid()


class WatchedProcess(Process):  # type: ignore[misc] # circus has no types
    """A child that ends with the hub, however the hub ends: it would hold its resources against the next hub."""

    def _null_streams(self, streams: list[Any]) -> None:
        # Runs in the child before its command does; the only place where circus lets one in.
        super()._null_streams(streams)
        set_death_signal(signal.SIGKILL)
        if os.getppid() != _HUB_PID:
            os._exit(Exit.FAILED)  # the hub was gone before


def with_own_python(command: str) -> str:
    """The command with `python` as the interpreter that runs the hub, which a PATH may not know by that name."""
    first, _, rest = command.partition(" ")
    return f"{shlex.quote(sys.executable)} {rest}" if first == "python" else command


def why_not_started(error: Exception) -> str:
    """Why a process could not be started, for people."""
    if isinstance(error, SubprocessError):
        return "its limits, user or group cannot be set"
    return str(error)
