"""Identification of processes: the kernel reuses process ids."""

from pathlib import Path
from typing import Self

import msgspec

from hub.base.untrusted import Integer, UnreadableError, read_bytes


class ProcessId(msgspec.Struct, frozen=True):
    """A process, distinct from all others since the node was booted.

    Args:
        pid: Its process id.
        start: Its start time, in clock ticks since boot.
    """

    pid: Integer
    start: Integer

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the process that has this id now. One that has just exited does not equal any running process."""
        _, start = _read(pid) or ("", 0)
        return cls(pid, start)

    @property
    def alive(self) -> bool:
        """Whether it is still running; a zombie does not count, because it no longer holds resources."""
        state, start = _read(self.pid) or ("", 0)
        return start == self.start and state not in {"", "Z", "X"}


def _read(pid: int) -> tuple[str, int] | None:
    """Return the state and start time of a process (fields 3 and 22 of /proc/PID/stat, man 5 proc_pid_stat)."""
    try:
        text = read_bytes(Path(f"/proc/{pid}/stat"))
    except UnreadableError:
        return None
    # The program's name is in parentheses, and may contain any character.
    fields = text.rpartition(b")")[2].split()
    return fields[0].decode(), int(fields[19])
