"""A JSON file that tracks the state of a process."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hub.base.jsonfile import replace_file
from hub.base.log import get_logger

WRITE_DELAY = 0.02
"""Seconds for which changes are collected into one write."""


class StatusFile:
    """Writes the state of a process as JSON soon after each change.

    Args:
        path: The file; None to write none, as in a process that was started by hand.
        content: Returns what to write; None to leave the file as it is.
    """

    def __init__(self, path: Path | None, content: Callable[[], object]) -> None:
        self._path = path
        self._content = content
        self._pending: asyncio.TimerHandle | None = None
        self._failure = ""
        self._written: os.stat_result | None = None
        self._log = get_logger()

    def mark_changed(self) -> None:
        """Write the file soon, because its content has changed."""
        if self._path and not self._pending:
            self._pending = asyncio.get_running_loop().call_later(WRITE_DELAY, self.write)

    def restore(self) -> None:
        """Write the file soon if it has been removed, or if another process has replaced or changed it."""
        if self._path and not self._is_intact(self._path):
            self.mark_changed()

    def touch(self, moment: int) -> None:
        """Set the file's modification time, which takes no disk space; write the file first if it was changed.

        Args:
            moment: The Unix time.
        """
        if self._path is None:
            return
        if self._written is None or self._failure or not self._is_intact(self._path):
            self.write()
        # Otherwise the file could not be written, or another process has replaced it.
        if self._written and self._is_intact(self._path):
            with suppress(OSError):
                os.utime(self._path, (moment, moment), follow_symlinks=False)
                self._written = self._path.lstat()

    def write(self) -> str:
        """Write the file now. A failure, such as a full disk, must not stop the process; it is logged once.

        Returns:
            Why the file could not be written; empty if it was.
        """
        if self._pending:
            self._pending.cancel()
        self._pending = None
        failure = self._write()
        if failure and failure != self._failure:
            self._log.error("file not written", file=str(self._path), reason=failure)
        self._failure = failure
        return failure

    def _write(self) -> str:
        try:
            content = self._content() if self._path else None
            if self._path and content is not None:
                replace_file(self._path, content)
                self._written = self._path.lstat()
        except Exception as error:  # noqa: BLE001 - readers need the file, the process does not
            return str(error) or type(error).__name__
        return ""

    def _is_intact(self, path: Path) -> bool:
        try:
            found = path.lstat()
        except OSError:
            return False
        return self._written is None or _version(found) == _version(self._written)


def _version(file: os.stat_result) -> tuple[int, int, int]:
    return file.st_ino, file.st_mtime_ns, file.st_size
