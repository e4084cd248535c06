"""Counts the changes that a watching thread reports."""

import threading
from collections.abc import Callable

_LIMIT = 60
"""Seconds."""


class Changes:
    """The changes so far; call it for each."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._number = 0

    def __call__(self) -> None:
        """Count one."""
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
