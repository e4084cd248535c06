"""Terminals in which tests type the commands of a page."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hub.testing.waiting import WAIT_SECONDS
from tests.harness.processes import ended, started

BIN = Path(sys.executable).parent


def environment(**variables: str) -> dict[str, str]:
    """Return a terminal's variables: the programs of the virtual environment, and logs as text."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DPHUB_")}
    own = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
        "DPHUB_LOG_FORMAT": "text",
        # The default port may be in use on this machine.
        "DPHUB_HTTP": "127.0.0.1:0",
    }
    return inherited | own | variables


def typed(command: str, directory: Path, **variables: str) -> str:
    """Type a command that must exit on its own without an error, and return its output."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )
    assert done.returncode == 0, (command, done.stdout)
    return done.stdout


async def typed_in_thread(command: str, directory: Path, **variables: str) -> str:
    """Type a command in a thread, so that the event loop keeps running, and return its output."""
    return await asyncio.to_thread(typed, command, directory, **variables)


class Terminal:
    """A command that runs until it is interrupted.

    Args:
        process: The process of the command.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        """Its output, without times."""
        self._more = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    def type(self, line: str) -> None:
        """Type a line into the command's standard input."""
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())

    async def says(self, words: str, times: int = 1) -> None:
        """Wait until this many lines of output contain the words."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while sum(words in line for line in self.lines) < times:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{words!r} is not in {self.lines}") from None

    async def end(self) -> None:
        """Type Ctrl-C, and check that the command exits without an error."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
        assert await ended(self._process) == 0, self.lines
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            self.lines.append(without_time(line.decode().rstrip("\n")))
            self._more.set()


@asynccontextmanager
async def terminal(command: str, directory: Path, **variables: str) -> AsyncIterator[Terminal]:
    """Run a command until the block ends. Variables may precede it, as in a shell."""
    words = shlex.split(command.replace("$PWD", str(directory)))
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    async with started(
        *words,
        cwd=directory,
        env=environment(**variables),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    ) as process:
        opened = Terminal(process)
        yield opened
        await opened.end()


def without_time(line: str) -> str:
    """Return a log line without its time and process id."""
    return re.sub(r"pid=\d+", "pid=4711", re.sub(r"^\d{4}-\S+Z ", "", line))
