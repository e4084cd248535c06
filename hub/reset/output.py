"""What a reset prints, line by line, never more of it than a log can bear."""

import os

from hub.base.log import Logger

LINES = 200
"""Lines of one reset that are told; the others are counted."""

LINE_BYTES = 1000
"""Of a longer line, the rest is dropped."""

_CHUNK = 1 << 16


class Output:
    """Reads a pipe without ever waiting, and without keeping more than a line of it.

    Args:
        pipe: Where to read, a descriptor that does not block.
        log: Logs each line.
    """

    def __init__(self, pipe: int, log: Logger) -> None:
        self._pipe = pipe
        self._log = log
        self._logged = 0
        self._dropped = 0
        self._partial = b""

    def read(self) -> bool:
        """Take what there is, up to a limit, so that who prints without end holds up nobody; False at the end."""
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
        """Take what is left in the pipe, which nobody writes to any more, and tell of what was dropped.

        Should somebody write to it all the same, a full pipe is enough of that.
        """
        for _ in range(2 * (1 << 20) // _CHUNK):
            if not self.read():
                break
        self._line(self._partial)
        if self._dropped:
            self._print(f"... and {self._dropped} more lines")

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
        self._log.info("reset printed", line=line)
