"""Notes on virtual functions that a reset has taken the driver off, for whoever finds them without one.

A reset may be cut short at any moment: its time is up, or its plugin is killed. A function without a driver is no RDMA
device, so the plugin would not even miss it, and the node would be one function poorer.

A note is a file that is named after the function and holds the driver's name, or nothing when all is done. It is locked
while a reset is at work, and never removed: who locks a file that another one removes has locked nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub import Host
from hub.locks import is_locked, open_lock, try_lock
from hub.reset import ResetFailed
from plugins.ib.function import Function

LIMIT = 6.0
"""Seconds that a driver has to take a function again."""

_NAME_BYTES = 256


@contextmanager
def noted(directory: str, pci: str, driver: str) -> Iterator[None]:
    """Keep a note until the block ends well; after any other end it is left behind.

    Raises:
        ResetFailed: the plugin is just binding the driver of this function again.
    """
    if not directory:
        yield
        return
    Path(directory).mkdir(exist_ok=True)
    file = open_lock(Path(directory) / pci)
    try:
        if not try_lock(file):
            raise ResetFailed("its driver is just being bound again")
        os.pwrite(file, driver.encode(), 0)
        yield
        os.truncate(file, 0)
    finally:
        os.close(file)


def left_behind(directory: str) -> list[str]:
    """The functions with a note whose reset is not at work any more."""
    notes = sorted(Path(directory).glob("*")) if directory else []
    return [path.name for path in notes if path.stat().st_size and not _is_at_work(path)]


def bind_again(host: Host, directory: str) -> Iterator[tuple[str, str]]:
    """Bind the drivers of functions whose reset was cut short: their addresses, and what keeps the driver from it."""
    for pci in left_behind(directory):
        file = open_lock(Path(directory) / pci)
        try:
            if not try_lock(file):
                continue
            function = Function(host, pci, os.pread(file, _NAME_BYTES, 0).decode())
            if function.is_there and not function.is_bound:
                problem = _problem_of_binding(function)
                yield pci, problem
                if problem:
                    continue
            os.truncate(file, 0)
        finally:
            os.close(file)


def _is_at_work(note: Path) -> bool:
    file = open_lock(note)
    try:
        return is_locked(file)
    finally:
        os.close(file)


def _problem_of_binding(function: Function) -> str:
    try:
        function.bind(LIMIT)
    except ResetFailed as failed:
        return str(failed)
    return ""
