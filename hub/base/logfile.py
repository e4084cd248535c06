"""A file with the latest log lines of a process, which `dphub logs` reads."""

import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from hub.base.removal import clear_path_for_file

MAX_BYTES = 1024 * 1024
"""Maximum size of a file in bytes. It is then renamed, replacing the previous one."""

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""These flags allow for a file that has become a pipe, which could block the process, or a link to another file."""


def rotated(path: Path) -> Path:
    """Return the path of the previous (rotated) file of a log file."""
    return path.with_name(f"{path.name}.1")


class StandardError:
    """Standard error, where a failed write is ignored: a process continues when the reader of its log has exited.

    There is nowhere else to report that failure, and the latest lines are also in a file.
    """

    def write(self, line: str) -> None:
        """Write a line, if that is possible."""
        with suppress(OSError):
            sys.stderr.write(line)

    def flush(self) -> None:
        """Write buffered lines, if that is possible."""
        with suppress(OSError):
            sys.stderr.flush()


class LogFile:
    """A file of limited size to which log lines are appended.

    When the disk is full, lines still go to standard error, together with a message about that.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._size = 0
        self._lock = threading.Lock()

    def write(self, event: dict[str, Any]) -> None:
        """Append one event as a line of JSON."""
        # The standard library's json writes everything, including file names that are not UTF-8.
        line = json.dumps(event, default=str).encode() + b"\n"
        with self._lock:
            try:
                self._append(line)
            except OSError as error:
                # The logger is not used: it would call this method again.
                StandardError().write(f"log line not kept in {self._path}: {error.strerror}\n")
                self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, line: bytes) -> None:
        if self._file is not None and self._size + len(line) > MAX_BYTES:
            self._close()
            clear_path_for_file(rotated(self._path))
            self._path.replace(rotated(self._path))
        if self._file is None:
            clear_path_for_file(self._path)
            self._file = os.open(self._path, _FLAGS, 0o600)
            self._size = os.fstat(self._file).st_size
        os.write(self._file, line)
        self._size += len(line)
