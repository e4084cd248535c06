"""How a reset gets the GPUs for itself.

A GPU is not reset while any process has the driver open, and the plugin has, for it listens to the driver's reports.
So a reset asks it to let go, by locks on files, which the kernel gives back however a process ends:

- the wish: shared by all resets that want the GPUs; a plugin finds it taken, and lets go;
- a session: a plugin's while it has a session with the driver. Resets wait for all of them: in a rolling upgrade there
  are two plugins.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from hub.base.locks import is_locked, open_lock, try_lock, unlock

_POLL = 0.02
"""Seconds between two tries; the kernel tells nobody that a lock became free who does not wait for it without limit."""


class Gate:
    """The plugin's side.

    Args:
        directory: Where the files are; empty where no reset will ask.
        instance: The plugin's hub, whose files are tidied up when it is no more.
    """

    def __init__(self, directory: str, instance: str) -> None:
        self._directory = directory
        self._instance = instance

    # Opened when they are needed: a configuration is checked where there is no hub, too.
    @cached_property
    def _wish(self) -> int:
        return open_lock(_wish(self._directory))

    @cached_property
    def _session(self) -> int:
        return open_lock(f"{self._directory}/{self._instance}{_SESSION}")

    @property
    def wanted(self) -> bool:
        """Whether a reset wants the GPUs."""
        return bool(self._directory) and is_locked(self._wish)

    def hold(self, patience: float = 0) -> bool:
        """Whether a session may begin, within so many seconds; it may not while a reset has the GPUs."""
        end = time.monotonic() + patience
        while not self._try_hold():
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL)
        return True

    def _try_hold(self) -> bool:
        if not self._directory:
            return True
        if not try_lock(self._session):
            return False
        if self.wanted:
            # A reset that came just now may not have seen this session.
            unlock(self._session)
            return False
        return True

    def let_go(self) -> None:
        """The session is over."""
        if self._directory:
            unlock(self._session)


@contextmanager
def alone(directory: str, patience: float) -> Iterator[None]:
    """Have the GPUs without a plugin.

    Args:
        directory: As for the gate.
        patience: Seconds that the plugins have to let go.

    Raises:
        TimeoutError: one did not.
    """
    if not directory:
        yield
        return
    end = time.monotonic() + patience
    with ExitStack() as closing:

        def locked(path: str | Path) -> None:
            file = open_lock(path)
            closing.callback(os.close, file)
            while not try_lock(file, shared=True):
                if time.monotonic() > end:
                    raise TimeoutError
                time.sleep(_POLL)

        locked(_wish(directory))
        # After the wish: a session that begins now finds it.
        for path in Path(directory).glob(f"*{_SESSION}"):
            locked(path)
        yield


_SESSION = ".gpu.session"


def _wish(directory: str) -> str:
    return f"{directory}/gpu.wish"
