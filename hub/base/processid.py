"""Which process a process id meant: another process gets the same number later."""

from pathlib import Path
from typing import Self

import msgspec


class ProcessId(msgspec.Struct, frozen=True):
    """One process, told from every other one of this boot.

    Args:
        pid: Its id.
        start: When it started, in clock ticks after boot.
    """

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process that has this id now. One that has just ended is told from all that live."""
        _, start = _read(pid) or ("", 0)
        return cls(pid, start)

    @property
    def alive(self) -> bool:
        """Whether it is still there; a zombie is not, for it holds nothing any more."""
        state, start = _read(self.pid) or ("", 0)
        return start == self.start and state not in {"", "Z", "X"}


def _read(pid: int) -> tuple[str, int] | None:
    """State and start of a process (fields 3 and 22 of /proc/PID/stat, man 5 proc_pid_stat)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The program's name stands in parentheses, and may hold anything.
    fields = text.rpartition(b")")[2].split()
    return fields[0].decode(), int(fields[19])
