"""The latest log lines of a process in a file, for whoever comes later: `dphub logs` reads them."""

import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

MAX_BYTES = 1024 * 1024
"""Bytes of a file; then it becomes the former one, whose predecessor is forgotten."""


def rotated(path: Path) -> Path:
    """Where the lines before those in a log file are."""
    return path.with_name(f"{path.name}.1")


class StandardError:
    """Takes lines for as long as somebody reads them: whoever reads the log no more has ended nobody's service.

    There is nowhere to say so, but that the latest lines are in a file besides.
    """

    def write(self, line: str) -> None:
        """Write it, if somebody takes it."""
        with suppress(OSError):
            sys.stderr.write(line)

    def flush(self) -> None:
        """Have it written by now."""
        with suppress(OSError):
            sys.stderr.flush()


class LogFile:
    """A file of bounded size that log lines are appended to.

    A disk that is full takes no lines; they still go where all logs go, with a word about that.

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
        # The standard library's, which writes everything: a file name that is no UTF-8, too.
        line = json.dumps(event, default=str).encode() + b"\n"
        with self._lock:
            try:
                self._append(line)
            except OSError as error:
                # Not through the log, which would come here again.
                StandardError().write(f"log line not kept in {self._path}: {error.strerror}\n")
                self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, line: bytes) -> None:
        if self._file is not None and self._size + len(line) > MAX_BYTES:
            self._close()
            self._path.replace(rotated(self._path))
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._file).st_size
        os.write(self._file, line)
        self._size += len(line)
