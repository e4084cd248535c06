"""Binds the drivers of functions again whose reset was cut short.

Each in a process of its own, for a driver may hang there for good: then that function is left alone, and nobody else
has to wait. This file is that process too: `python -m plugins.ib.reset.binding HOST_ROOT DIRECTORY PCI`.
"""

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import structlog

from hub import Host, ResetFailed
from plugins.ib.reset.function import Function
from plugins.ib.reset.unbound import UnboundRecord, is_abandoned, records, settle, taken

LIMIT = 6.0
"""Seconds that a driver has to take a function again."""

FIRST, LONGEST = 1.0, 300.0
"""Seconds between two tries for one function: after the first one, and at most. They double with each."""


class Binding:
    """The functions without driver of one node.

    Args:
        host: The node.
        directory: Where the notes are; empty where nobody keeps any.
    """

    def __init__(self, host: Host, directory: str) -> None:
        self._host = host
        self._directory = directory
        self._tries: dict[str, tuple[float, float]] = {}
        """When a function is due again, 0 for at once, and how long it waits after that."""
        self._log = structlog.get_logger()
        self._workers: list[subprocess.Popen[bytes]] = []

    def refresh(self) -> dict[str, str]:
        """Begin what is due, and wait for nothing; the `problems` that there were."""
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        known = records(self._directory)
        self._tries = {note.pci: self._tries.get(note.pci, (0, FIRST)) for note in known}
        now = time.monotonic()
        for note in known:
            due, delay = self._tries[note.pci]
            if now >= due and is_abandoned(self._directory, note):
                self._tries[note.pci] = now + delay, min(2 * delay, LONGEST)
                if not due:
                    self._log.warning("driver rebound", device=note.pci, reason="a reset was interrupted")
                self._begin(note.pci)
        return _problems(known)

    def problems(self) -> dict[str, str]:
        """The functions whose driver did not take them again, and why."""
        return _problems(records(self._directory))

    def _begin(self, pci: str) -> None:
        command = [sys.executable, "-m", __name__, str(self._host.root), self._directory, pci]
        self._workers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))  # noqa: S603 - our own module


def _problems(known: Iterable[UnboundRecord]) -> dict[str, str]:
    return {note.pci: note.problem for note in known if note.problem}


def bind(host: Host, directory: str, pci: str) -> None:
    """Bind the driver of a function, if it has none, and note what came of it."""
    with taken(directory, pci) as note:
        if note is None:
            return
        function, problem = Function(host, pci, note.driver), ""
        if function.is_there and not function.is_bound:
            try:
                function.bind_once(LIMIT)
            except ResetFailed as failed:
                problem = str(failed)
        settle(directory, note, problem)


if __name__ == "__main__":
    bind(Host(Path(sys.argv[1])), sys.argv[2], sys.argv[3])
