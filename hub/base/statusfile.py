"""Keeps a file in step with what a process knows."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from hub.base.jsonfile import replace_file
from hub.base.log import get_logger

WRITE_DELAY = 0.02
"""Seconds in which several changes become one write."""


class StatusFile:
    """Writes something as JSON soon after each change of it.

    Args:
        path: The file; None where the process was started by hand and nobody reads it.
        content: Returns what to write, as of now; None to leave the file as it is.
    """

    def __init__(self, path: Path | None, content: Callable[[], object]) -> None:
        self._path = path
        self._content = content
        self._pending: asyncio.TimerHandle | None = None
        self._failure = ""
        self._log = get_logger()

    def mark_changed(self) -> None:
        """Something has changed."""
        if self._path and not self._pending:
            self._pending = asyncio.get_running_loop().call_later(WRITE_DELAY, self.write)

    def restore(self) -> None:
        """Write it soon where somebody has taken it away."""
        if self._path and not self._path.exists():
            self.mark_changed()

    def write(self) -> str:
        """Write now. A full disk is no reason to stop serving; it is said once.

        Returns:
            Why it could not be written; empty when it was.
        """
        if self._pending:
            self._pending.cancel()
        self._pending = None
        content = self._content() if self._path else None
        if not self._path or content is None:
            return ""
        failure = ""
        try:
            replace_file(self._path, content)
        except (OSError, TypeError, ValueError) as error:
            failure = str(error)
        if failure and failure != self._failure:
            self._log.error("file not written", file=str(self._path), reason=failure)
        self._failure = failure
        return failure
