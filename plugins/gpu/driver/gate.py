"""How a reset gets the GPUs for itself.

A GPU is not reset while any process has the driver open, and the plugin has, for it listens to the driver's reports.
So a reset asks it to let go, by two locks on files, which the kernel gives back however a process ends:

- the wish: shared by all resets that want the GPUs; the plugin finds it taken, and lets go;
- the session: the plugin's while it has a session with the driver; resets wait for it.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

_POLL = 0.02
"""Seconds between two tries; the kernel tells nobody that a lock became free who does not wait for it without limit."""


class Gate:
    """The plugin's side.

    Args:
        path: What the files' names begin with; empty where no reset will ask.
    """

    def __init__(self, path: str) -> None:
        self._wish = _open(f"{path}.wish") if path else None
        self._session = _open(f"{path}.session") if path else None

    @property
    def wanted(self) -> bool:
        """Whether a reset wants the GPUs."""
        if self._wish is None or not _try(self._wish, fcntl.LOCK_EX):
            return self._wish is not None
        fcntl.flock(self._wish, fcntl.LOCK_UN)
        return False

    def hold(self) -> bool:
        """Whether a session may begin; it may not while a reset has the GPUs."""
        return self._session is None or _try(self._session, fcntl.LOCK_EX)

    def let_go(self) -> None:
        """The session is over."""
        if self._session is not None:
            fcntl.flock(self._session, fcntl.LOCK_UN)


@contextmanager
def alone(path: str, patience: float) -> Iterator[None]:
    """Have the GPUs without the plugin.

    Args:
        path: As for the gate.
        patience: Seconds that the plugin has to let go.

    Raises:
        TimeoutError: it did not.
    """
    if not path:
        yield
        return
    wish, session = _open(f"{path}.wish"), _open(f"{path}.session")
    try:
        end = time.monotonic() + patience
        fcntl.flock(wish, fcntl.LOCK_SH)
        while not _try(session, fcntl.LOCK_SH):
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(_POLL)
        yield
    finally:
        os.close(session)
        os.close(wish)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
