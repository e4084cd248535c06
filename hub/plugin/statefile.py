"""Keeps a plugin's state file in step with the plugin."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from hub.log import get_logger
from hub.state import PluginState, write_state

GATHER = 0.02
"""Seconds in which several changes become one write."""


class StateFile:
    """Writes the state soon after each change.

    Args:
        path: The file; None where the process was started by hand and nobody reads it.
        state: Tells the state as of now.
    """

    def __init__(self, path: Path | None, state: Callable[[], PluginState]) -> None:
        self._path = path
        self._state = state
        self._pending: asyncio.TimerHandle | None = None
        self._failure = ""
        self._log = get_logger()

    def touch(self) -> None:
        """Something has changed."""
        if self._path and not self._pending:
            self._pending = asyncio.get_running_loop().call_later(GATHER, self.write)

    def write(self) -> None:
        """Write now. A full disk is no reason to stop serving; it is said once."""
        if self._pending:
            self._pending.cancel()
        self._pending = None
        if not self._path:
            return
        failure = ""
        try:
            write_state(self._path, self._state())
        except OSError as error:
            failure = str(error)
        if failure and failure != self._failure:
            self._log.error("state file not written", file=str(self._path), reason=failure)
        self._failure = failure
