"""The command line of this process, as other programs such as ps see it."""

import ctypes
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_ARG_START = 48
_ARG_END = 49
"""Numbers of the fields of /proc/PID/stat (man 5 proc)."""


class ProcessTitle:
    """Changes the command line of this process, in the memory in which the kernel has stored it.

    The kernel shows the content of this memory in /proc/PID/cmdline. It is as large as the original command line, so a
    process that needs a longer one is started with an additional argument of the necessary length.
    """

    def __init__(self) -> None:
        self._address, self._size = 0, 0
        with suppress(OSError, ValueError, IndexError):
            stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
            # The second field, the name of the program, may contain anything; the result begins with the third.
            fields = stat.rpartition(")")[2].split()
            start, end = (int(fields[number - 3]) for number in (_ARG_START, _ARG_END))
            self._address, self._size = start, end - start

    def set(self, words: Sequence[str]) -> None:
        """Show these words, or as much of them as there is memory for; do nothing if that memory is unknown."""
        if self._size > 0:
            content = b"".join(os.fsencode(word) + b"\0" for word in words)
            # The last byte stays zero: otherwise, the kernel continues with the environment.
            ctypes.memmove(self._address, content[: self._size - 1].ljust(self._size, b"\0"), self._size)
