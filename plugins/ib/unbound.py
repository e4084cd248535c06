"""Notes on virtual functions that a reset has taken the driver off, for whoever finds them without one.

A reset may be cut short at any moment: its time is up, or its plugin is killed. A function without a driver is no RDMA
device, so the plugin would not even miss it, and the node would be one function poorer.

A note is a file that is named after the function and holds the driver's name, and what keeps the driver from it; or
nothing when all is done. It is locked while somebody is at work on the function, and never removed: who locks a file
that another one removes has locked nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hub import ResetFailed
from hub.base.locks import existing_lock, is_locked, open_lock, try_lock

_LONGEST = 4096
"""Bytes of a note."""


class Note(NamedTuple):
    """A function that may have no driver."""

    pci: str
    driver: str
    problem: str
    """What kept the driver from it at the last try."""


@contextmanager
def noted(directory: str, pci: str, driver: str) -> Iterator[None]:
    """Keep a note until the block ends well. After any other end it is left, and locked until this process is gone.

    Raises:
        ResetFailed: the driver of this function is just being bound again.
    """
    if not directory:
        yield
        return
    Path(directory).mkdir(exist_ok=True)
    file = open_lock(Path(directory) / pci)
    if not try_lock(file):
        os.close(file)
        raise ResetFailed("its driver is just being bound again")
    _write(file, driver)
    # Closed after a good end only: what hangs in the kernel goes on, and ends with the process.
    yield
    _write(file, "")
    os.close(file)


@contextmanager
def taken(directory: str, pci: str) -> Iterator[Note | None]:
    """Be at work on a function; None where somebody else is, or where nothing is left to do."""
    with existing_lock(Path(directory) / pci) as file:
        yield _parsed(pci, os.pread(file, _LONGEST, 0)) if try_lock(file) else None


def notes(directory: str) -> list[Note]:
    """All notes on functions where something is left to do."""
    paths = sorted(Path(directory).glob("*")) if directory else []
    return [note for path in paths if (note := _parsed(path.name, path.read_bytes()))]


def is_abandoned(directory: str, note: Note) -> bool:
    """Whether nobody is at work on the function."""
    with existing_lock(Path(directory) / note.pci) as file:
        return not is_locked(file)


def settle(directory: str, note: Note, problem: str) -> None:
    """Write what came of a try; without a problem nothing is left to do."""
    with existing_lock(Path(directory) / note.pci) as file:
        _write(file, f"{note.driver}\n{problem}" if problem else "")


def _parsed(pci: str, content: bytes) -> Note | None:
    driver, _, problem = content.decode(errors="replace").partition("\n")
    return Note(pci, driver, problem) if driver else None


def _write(file: int, text: str) -> None:
    # In this order: whoever is killed in between leaves more than there should be, and never nothing.
    os.pwrite(file, text.encode(), 0)
    os.truncate(file, len(text.encode()))
