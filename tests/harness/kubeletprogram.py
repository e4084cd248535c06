"""A running program of tests/kubelet or tests/dra: commands, responses and events, one JSON object per line."""

import asyncio
import itertools
import json
import tempfile
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

_LONGEST_LINE = 64 * 1024 * 1024


class KubeletEndedError(Exception):
    """The process exited before it responded."""


class Event(msgspec.Struct):
    """An event in the device manager, and the numbers of devices after it."""

    event: str
    capacity: dict[str, tuple[int, int]]
    resource: str = ""
    endpoint: str = ""
    error: str = ""
    size: int = 0
    devices: list["ListedDevice"] | None = None


class ListedDevice(msgspec.Struct):
    """A device in a plugin's list."""

    id: str
    health: str
    numa: tuple[int, ...]


class Answer(msgspec.Struct):
    """The result of a command."""

    id: int
    error: str
    """The error; empty if the command succeeded."""
    result: Any = None


EventType = TypeVar("EventType")


class Program(Generic[EventType]):
    """The running program, its commands and its responses.

    Args:
        arguments: The command line.
        event: The type of the program's events.
        happened: A function that is called with each event.
    """

    def __init__(self, arguments: list[str], event: type[EventType], happened: Callable[[EventType], None]) -> None:
        self._arguments = arguments
        self._event = event
        self._happened = happened
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`

    async def start(self) -> None:
        """Start the program."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments, stdin=pipe, stdout=pipe, stderr=self._log, limit=_LONGEST_LINE
        )
        self._reading = asyncio.create_task(self._read(self._process))

    def send(self, do: str, **fields: Any) -> "asyncio.Future[Answer]":  # noqa: ANN401 - a command's fields
        """Send a command, and return a future of its response."""
        number = next(self._numbers)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self._process is None or self._process.stdin is None or self._reading is None or self._reading.done():
            _fail(answer, "")
            return answer
        self._waiting[number] = answer
        self._process.stdin.write(json.dumps({"id": number, "do": do, **fields}).encode() + b"\n")
        return answer

    async def end(self, *, clean: bool) -> None:
        """Stop the program: close its standard input if `clean`; otherwise, send SIGKILL."""
        if self._process is not None and self._reading is not None:
            if clean and self._process.stdin:
                self._process.stdin.close()
            elif self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            await self._reading
        self._log.close()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        while line := await process.stdout.readline():
            if line.startswith(b'{"event"'):
                self._happened(msgspec.json.decode(line, type=self._event))
            else:
                answer = msgspec.json.decode(line, type=Answer)
                waiting = self._waiting.pop(answer.id)
                if not waiting.done():
                    waiting.set_result(answer)
        for waiting in self._waiting.values():
            if not waiting.done():
                _fail(waiting, self._words())

    def _words(self) -> str:
        self._log.seek(0)
        return self._log.read()[-2000:].decode(errors="replace")


def _fail(answer: "asyncio.Future[Answer]", words: str) -> None:
    answer.set_exception(KubeletEndedError(words))
    answer.exception()  # no error if the test does not wait for this response
