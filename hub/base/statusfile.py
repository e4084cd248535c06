"""A JSON file that tracks the state of a process."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from hub.base.jsonfile import replace_file
from hub.base.log import get_logger

WRITE_DELAY = 0.02
"""Seconds for which changes are collected into one write."""


class StatusFile:
    """Writes the state of a process as JSON soon after each change.

    Args:
        path: The file; None in a process that was started by hand, which reads no file.
        content: Returns what to write; None to leave the file as it is.
    """

    def __init__(self, path: Path | None, content: Callable[[], object]) -> None:
        self._path = path
        self._content = content
        self._pending: asyncio.TimerHandle | None = None
        self._failure = ""
        self._log = get_logger()

    def mark_changed(self) -> None:
        """Write the file soon, because its content has changed."""
        if self._path and not self._pending:
            self._pending = asyncio.get_running_loop().call_later(WRITE_DELAY, self.write)

    def restore(self) -> None:
        """Write the file soon if it has been removed."""
        if self._path and not self._path.exists():
            self.mark_changed()

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
        except Exception as error:  # noqa: BLE001 - readers need the file, the process does not
            return str(error) or type(error).__name__
        return ""
