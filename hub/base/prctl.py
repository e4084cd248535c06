"""Two process attributes that Linux has and Python has no function for (man 2 prctl)."""

import ctypes
import os

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def set_death_signal(number: int) -> None:
    """Have the kernel send this process a signal when its parent exits, however it exits.

    Precisely: when the thread that started this process exits.
    """
    _prctl(_PR_SET_PDEATHSIG, number)


def become_subreaper() -> None:
    """Become the parent of every orphaned descendant, including those in other sessions."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def resign_as_subreaper() -> None:
    """Leave new orphans to another process; those that are children of this one stay its children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 0)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}, {value}): {os.strerror(error)}")
