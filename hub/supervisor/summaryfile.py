"""A file with the summary of the status, for programs that can neither run a command of the hub nor use HTTP.

One such program is node-problem-detector in its own pod: its image has a shell, but no HTTP client.
"""

import asyncio
import contextlib
import os

from hub.base.errors import HubError
from hub.base.jsonfile import replace_bytes
from hub.base.paths import RunDir
from hub.base.removal import make_directory
from hub.base.ticks import sleep_until_tick
from hub.status.reader import Reader
from hub.status.summary import summary

INTERVAL = 5.0
"""Seconds between checks of the status. Programs that read the file do so every half minute."""


class SummaryFile:
    """Keeps the file up to date, and its modification time recent.

    Args:
        run_dir: The run directory.
        reader: Reads the status of the node.
    """

    def __init__(self, run_dir: RunDir, reader: Reader) -> None:
        self._path = run_dir.summary
        self._reader = reader
        self._written = b""

    async def keep(self) -> None:
        """Update the file until cancelled, and then remove it.

        Raises:
            OSError: it cannot be written.
        """
        try:
            while True:
                self.update()
                await sleep_until_tick(INTERVAL)
        except asyncio.CancelledError:
            # After a failure, the last summary is left, and readers ignore it once it is stale.
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise

    def update(self) -> None:
        """Write the file if its content has changed, or else only its modification time.

        Raises:
            OSError: it cannot be written.
        """
        try:
            content = summary(self._reader.status(running=True, memory=False)).encode()
        except HubError:
            # Another process has removed or changed the hub's report, which is written again soon. Until then the file
            # goes stale, which its readers can handle.
            return
        if content != self._written or self._path.is_symlink() or not self._path.is_file():
            make_directory(self._path.parent)
            replace_bytes(self._path, content, mode=0o600)
            self._written = content
        else:
            os.utime(self._path, follow_symlinks=False)
