"""Counters of the changes that a watching thread reports."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hub import watch_directories

_LIMIT = 60
"""The time limit for a change to be noticed, in seconds."""


class _EndedError(Exception):
    """An error that ends the thread."""


class Changes:
    """A counter of changes, which is called once for each."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._number = 0

    def __call__(self) -> None:
        """Count one change."""
        with self._condition:
            self._number += 1
            self._condition.notify()

    def follow(self, change: Callable[[], object]) -> bool:
        """Make a change; return whether it is noticed."""
        with self._condition:
            before = self._number
        change()
        with self._condition:
            return self._condition.wait_for(lambda: self._number > before, _LIMIT)


@contextmanager
def watched(
    directories: Callable[[], Iterable[Path]], concerns: Callable[[Path], bool] = lambda _: True
) -> Iterator[Changes]:
    """Watch directories in a thread that ends with the block, so that it never uses what a later test replaces."""
    changes, ended = Changes(), threading.Event()
    with TemporaryDirectory() as name:
        own = Path(name)

        def all_directories() -> list[Path]:
            if ended.is_set():
                raise _EndedError
            return [*directories(), own]

        def watch() -> None:
            with suppress(_EndedError):
                watch_directories(all_directories, changes, concerns=concerns)

        thread = threading.Thread(target=watch)
        assert changes.follow(thread.start)
        try:
            yield changes
        finally:
            ended.set()
            # The thread asks for its directories again when a new one appears.
            (own / "last").mkdir()
            thread.join(_LIMIT)
            assert not thread.is_alive()
