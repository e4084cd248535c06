"""Logs what a reset prints, with a limit on the number of lines and their length."""

import os

from hub.base.log import Logger
from hub.base.wording import counted

LINES = 200
"""Maximum number of lines of one reset that are logged; further lines are counted."""

LINE_BYTES = 1000
"""Maximum length in bytes of a logged line."""

_CHUNK = 1 << 16


class Output:
    """Reads a pipe without blocking, and without keeping more than one line.

    Args:
        pipe: A non-blocking descriptor.
        log: The logger for the lines.
    """

    def __init__(self, pipe: int, log: Logger) -> None:
        self._pipe = pipe
        self._log = log
        self._logged = 0
        self._dropped = 0
        self._partial = b""

    def read(self) -> bool:
        """Read what is available, up to a limit, so that endless output blocks nothing; return False at the end."""
        try:
            chunk = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return True
        *lines, rest = chunk.split(b"\n")
        if lines:
            self._line(self._partial + lines[0])
            for line in lines[1:]:
                self._line(line)
            self._partial = b""
        self._partial = (self._partial + rest)[: LINE_BYTES + 1]
        return bool(chunk)

    def finish(self) -> None:
        """Read what is left in the pipe after all its writers have exited, and log how many lines were dropped.

        If a process is still writing to it, stop after as much as a full pipe holds.
        """
        for _ in range(2 * (1 << 20) // _CHUNK):
            if not self.read():
                break
        self._line(self._partial)
        if self._dropped:
            self._print(f"... and {counted(self._dropped, 'more line')}")

    def _line(self, line: bytes) -> None:
        if not line:
            return
        if self._logged == LINES:
            self._dropped += 1
            return
        self._logged += 1
        cut = " ..." if len(line) > LINE_BYTES else ""
        self._print(line[:LINE_BYTES].decode(errors="backslashreplace") + cut)

    def _print(self, line: str) -> None:
        self._log.info("reset output", line=line)
