"""Rebind the drivers of functions whose reset was interrupted.

Each attempt runs in its own process, because a driver may hang forever: the plugin then gives up on that function, and
does not wait.
This file is also that process: `python -m plugins.ib.reset.binder HOST_ROOT DIRECTORY PCI`.
"""

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import structlog

from hub import Host, ResetFailed
from plugins.ib.reset.function import Function
from plugins.ib.reset.unbound import UnboundRecord, claim, is_abandoned, records, settle

BIND_TIMEOUT = 6.0
"""Seconds that binding a driver may take."""

FIRST_DELAY, MAX_DELAY = 1.0, 300.0
"""Seconds between attempts for one function: initial and maximum. The delay doubles with each attempt."""


class DriverBinder:
    """A binder for the drivers of functions that a reset left without one.

    Args:
        host: The node's file system.
        directory: The directory with records of such functions; empty if there is none.
    """

    def __init__(self, host: Host, directory: str) -> None:
        self._host = host
        self._directory = directory
        self._tries: dict[str, tuple[float, float]] = {}
        """The time of each function's next attempt (0: at once), and the delay after that."""
        self._log = structlog.get_logger()
        self._workers: list[subprocess.Popen[bytes]] = []

    def refresh(self) -> dict[str, str]:
        """Start the attempts that are due, without waiting, and return the current `problems`."""
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        known = records(self._directory)
        self._tries = {entry.pci: self._tries.get(entry.pci, (0, FIRST_DELAY)) for entry in known}
        now = time.monotonic()
        for entry in known:
            due, delay = self._tries[entry.pci]
            if now >= due and is_abandoned(self._directory, entry):
                self._tries[entry.pci] = now + delay, min(2 * delay, MAX_DELAY)
                if not due:
                    self._log.warning("driver rebound", device=entry.pci, reason="a reset was interrupted")
                self._start(entry.pci)
        return _problems(known)

    def problems(self) -> dict[str, str]:
        """Return the functions whose driver could not be bound again, and why."""
        return _problems(records(self._directory))

    def _start(self, pci: str) -> None:
        command = [sys.executable, "-P", "-m", __name__, str(self._host.root), self._directory, pci]
        self._workers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))  # noqa: S603 - this module


def _problems(known: Iterable[UnboundRecord]) -> dict[str, str]:
    return {entry.pci: entry.problem for entry in known if entry.problem}


def bind(host: Host, directory: str, pci: str) -> None:
    """Bind the driver of a function, if it has none, and record the result."""
    with claim(directory, pci) as entry:
        if entry is None:
            return
        function, problem = Function(host, pci, entry.driver), ""
        if function.exists and not function.is_bound:
            try:
                function.bind_once(BIND_TIMEOUT)
            except ResetFailed as failed:
                problem = str(failed)
        settle(directory, entry, problem)


if __name__ == "__main__":
    bind(Host(Path(sys.argv[1])), sys.argv[2], sys.argv[3])
