"""The process of a plugin that a command starts."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hub.base.errors import ConfigError
from hub.base.exits import signal_name
from hub.base.untrusted import UnreadableError, read_tail

_TAIL_BYTES = 4000
_TAIL_LINES = 10


class PluginCommand:
    """Starts a plugin as often as necessary, one process at a time.

    Args:
        words: The command and its arguments.
        environment: The variables of the process.
        output: The file to which its standard output and standard error are appended.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        self.words = words
        self._environment = environment
        self._output = output
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process.

        Raises:
            ConfigError: the command cannot be started.
        """
        with self._output.open("ab") as output:
            try:
                # In a session of its own, so that `kill` kills its children too.
                self._process = await asyncio.create_subprocess_exec(
                    *self.words,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self._environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise ConfigError(self.words[0], f"cannot be started: {error.strerror}") from None

    @property
    def exit(self) -> str:
        """How the process exited, as a clause; empty while it is running."""
        code = self._process.returncode if self._process else None
        if code is None:
            return ""
        return f"it was killed by {signal_name(-code)}" if code < 0 else f"it exited with code {code}"

    @property
    def exit_code(self) -> int | None:
        """The exit code, or the negative number of the signal that killed it; None while it is running."""
        return self._process.returncode if self._process else None

    async def terminate(self, limit: float) -> bool:
        """Send SIGTERM, and return whether the process exited within the limit."""
        if self._process is None or self._process.returncode is not None:
            return True
        self._process.send_signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), limit)
        return self._process.returncode is not None

    async def kill(self) -> None:
        """Kill the process and its children."""
        if self._process is not None:
            # The group may be gone, or have children although the process itself has exited.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    def last_lines(self) -> list[str]:
        """Return the last lines that it has written; none if another file has taken its place."""
        try:
            text = read_tail(self._output, _TAIL_BYTES).decode(errors="replace")
        except UnreadableError:
            return []
        return [line for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
