"""Exit codes of the hub and its processes."""

import signal
from enum import IntEnum


class Exit(IntEnum):
    """Why a process of the hub exited; any other exit code is a crash."""

    meaning: str
    """In a sentence or two, for `dphub help exit-codes` and the reference."""

    def __new__(cls, code: int, meaning: str) -> "Exit":  # noqa: PYI034 - Self does not fit members of an enum
        """Create a member from its number and its text."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "Stopped as requested."
    FAILED = 1, "Failed to start or to continue; the log says why."
    USAGE = 2, "A flag or a file is invalid; nothing was started."
    PLUGIN_DIR_REPLACED = (
        10,
        "The kubelet's plugin directory was replaced. Only a restarted container sees the new directory.",
    )
    ALREADY_RUNNING = 11, "Another hub of the same name is using the run directory."
    NEEDS_RESTART = (
        12,
        "A plugin needs a new process, for example because its driver hangs or was replaced; its log says why.",
    )


def signal_name(number: int) -> str:
    """Return the name of a signal, such as "SIGSEGV"; most realtime signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
