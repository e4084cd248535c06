"""Records of virtual functions whose driver was unbound by a reset, so that it can be bound again later.

A reset may be interrupted at any moment: by its timeout, or because its plugin is killed. A function without a driver
is not an RDMA device, so the plugin would not notice its absence, and the node would lose the function.

A record is a file named after the function. It contains the driver's name, and why the last attempt to bind it
failed; it is empty once the driver is bound. It is locked while a process works on the function, and never removed: a
lock on a removed file does not exclude other processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hub import FileLock, ResetFailed, Runtime, UnreadableError, read_text

_MAX_SIZE = 4096
"""The maximum size of a record in bytes."""


class UnboundRecord(NamedTuple):
    """A function that may be without its driver."""

    pci: str
    driver: str
    problem: str
    """Why the last attempt to bind the driver failed; empty before the first."""


def unbound_directory(runtime: Runtime) -> str:
    """Return the directory for records of functions without a driver; empty if there is no run directory."""
    return str(runtime.node_path("unbound")) if runtime else ""


@contextmanager
def record(directory: str, pci: str, driver: str) -> Iterator[None]:
    """Keep a record until the block succeeds. If it fails, the record remains, locked until this process exits.

    Raises:
        ResetFailed: another process is binding the driver of this function.
    """
    if not directory:
        yield
        return
    Path(directory).mkdir(exist_ok=True)
    path = Path(directory) / pci
    lock = FileLock(path)
    if not lock.acquire():
        lock.close()
        raise ResetFailed("another process is binding its driver")
    _write(path, driver)
    # Not closed after a failure: a write that hangs in the kernel continues until the process exits.
    yield
    _write(path, "")
    lock.close()


@contextmanager
def claim(directory: str, pci: str) -> Iterator[UnboundRecord | None]:
    """Lock a function to work on it; yield None if another process holds it, or its driver is bound."""
    path = Path(directory) / pci
    with FileLock(path) as lock:
        yield _read(path) if lock.acquire() else None


def records(directory: str) -> list[UnboundRecord]:
    """Return the records of functions that may be without their driver."""
    paths = sorted(Path(directory).glob("*")) if directory else []
    return [entry for path in paths if (entry := _read(path))]


def is_abandoned(directory: str, entry: UnboundRecord) -> bool:
    """Return whether no process works on the function."""
    with FileLock(Path(directory) / entry.pci) as lock:
        return not lock.held_by_other


def settle(directory: str, entry: UnboundRecord, problem: str) -> None:
    """Write the result of an attempt to bind the driver; an empty problem means success."""
    _write(Path(directory) / entry.pci, f"{entry.driver}\n{problem}" if problem else "")


def _read(path: Path) -> UnboundRecord | None:
    try:
        driver, _, problem = read_text(path, max_bytes=_MAX_SIZE, errors="replace").partition("\n")
    except UnreadableError:
        return None
    return UnboundRecord(path.name, driver, problem) if driver else None


def _write(path: Path, text: str) -> None:
    # In this order: a process killed in between leaves too much text, but never an empty record.
    with path.open("r+b", buffering=0) as file:
        file.write(text.encode())
        file.truncate(len(text.encode()))
