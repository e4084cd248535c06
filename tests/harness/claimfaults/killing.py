"""Processes in one event loop that can be killed before or after any change to a file."""

import asyncio
import functools
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import IOBase
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Killed(BaseException):
    """The process has been killed."""


class Process:
    """A process: its tasks and its changes to files.

    Args:
        failed: Called with each error that ends a task.

    Attributes:
        dead: Set once the process has been killed.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self.dead = asyncio.Event()
        self._failed = failed
        self._steps: int | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin some work of the process."""
        before = _CURRENT.set(self)
        try:
            task = asyncio.ensure_future(work)
        finally:
            _CURRENT.reset(before)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._failed(error)

    def kill_after(self, steps: int) -> None:
        """Kill the process before or after one of its next changes to a file."""
        self._steps = steps

    async def kill(self) -> None:
        """Kill the process now, and wait until it is gone."""
        self.dead.set()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def change(self, do: Callable[[], T], rng: random.Random) -> T:
        """Change a file, unless the process is killed first.

        Raises:
            Killed: the process has been killed, perhaps after the change.
        """
        if self.dead.is_set():
            raise Killed
        if self._steps == 0:
            self.dead.set()
            if rng.random() < 0.5:
                done = do()
                if isinstance(done, IOBase):
                    done.close()
            raise Killed
        if self._steps is not None:
            self._steps -= 1
        return do()


_CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)


@contextmanager
def killable(rng: random.Random) -> Iterator[None]:
    """Allow processes to be killed at each change to a file, until the block ends."""
    originals = {name: getattr(Path, name) for name in ("mkdir", "open", "replace", "touch", "unlink")}
    for name, original in originals.items():
        setattr(Path, name, _intercepted(original, rng))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(Path, name, original)


def _intercepted(original: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - those of the method
        process = _CURRENT.get()
        if process is None:
            return original(*args, **options)
        return process.change(lambda: original(*args, **options), rng)

    return call
