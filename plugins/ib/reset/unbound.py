"""Notes on virtual functions that a reset has taken the driver off, for whoever finds them without one.

A reset may be cut short at any moment: its time is up, or its plugin is killed. A function without a driver is no RDMA
device, so the plugin would not even miss it, and the node would be one function poorer.

A note is a file that is named after the function and holds the driver's name, and what keeps the driver from it; or
nothing when all is done. It is locked while somebody is at work on the function, and never removed: who locks a file
that another one removes has locked nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hub import FileLock, ResetFailed, Runtime

_LONGEST = 4096
"""Bytes of a note."""


class UnboundRecord(NamedTuple):
    """A function that may have no driver."""

    pci: str
    driver: str
    problem: str
    """What kept the driver from it at the last try."""


def unbound_directory(runtime: Runtime) -> str:
    """The directory for notes on functions without a driver; empty where there is none."""
    return str(runtime.node_path("unbound")) if runtime else ""


@contextmanager
def record(directory: str, pci: str, driver: str) -> Iterator[None]:
    """Keep a note until the block ends well. After any other end it is left, and locked until this process is gone.

    Raises:
        ResetFailed: the driver of this function is just being bound again.
    """
    if not directory:
        yield
        return
    Path(directory).mkdir(exist_ok=True)
    path = Path(directory) / pci
    lock = FileLock(path)
    if not lock.acquire():
        lock.close()
        raise ResetFailed("its driver is just being bound again")
    _write(path, driver)
    # Closed after a good end only: what hangs in the kernel goes on, and ends with the process.
    yield
    _write(path, "")
    lock.close()


@contextmanager
def taken(directory: str, pci: str) -> Iterator[UnboundRecord | None]:
    """Be at work on a function; None where somebody else is, or where nothing is left to do."""
    path = Path(directory) / pci
    with FileLock(path) as lock:
        yield _read(path) if lock.acquire() else None


def records(directory: str) -> list[UnboundRecord]:
    """All notes on functions where something is left to do."""
    paths = sorted(Path(directory).glob("*")) if directory else []
    return [note for path in paths if (note := _read(path))]


def is_abandoned(directory: str, note: UnboundRecord) -> bool:
    """Whether nobody is at work on the function."""
    with FileLock(Path(directory) / note.pci) as lock:
        return not lock.held_by_other


def settle(directory: str, note: UnboundRecord, problem: str) -> None:
    """Write what came of a try; without a problem nothing is left to do."""
    _write(Path(directory) / note.pci, f"{note.driver}\n{problem}" if problem else "")


def _read(path: Path) -> UnboundRecord | None:
    with path.open("rb") as file:
        driver, _, problem = file.read(_LONGEST).decode(errors="replace").partition("\n")
    return UnboundRecord(path.name, driver, problem) if driver else None


def _write(path: Path, text: str) -> None:
    # In this order: a process that is killed in between leaves more than there should be, and never nothing.
    with path.open("r+b", buffering=0) as file:
        file.write(text.encode())
        file.truncate(len(text.encode()))
