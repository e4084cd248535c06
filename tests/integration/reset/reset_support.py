"""Resets in a test, and every process that belongs to them."""

import os
import secrets
import signal
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

import psutil

from hub import ResetDevice
from hub.reset.result import ResetResult
from hub.reset.runner import ResetRunner
from tests.harness.preloaded import SERVERS
from tests.harness.processes import marked

STUB = "plugins.stub.reset:reset"
VARIABLE = "RESET_TEST"

LONG = 60.0
"""A deadline that no test reaches."""

SHORT = 5.0
"""A deadline that tests reach, but only after a process has started."""

ALLOWANCE = 10.0
"""Seconds that a test lets pass beyond a deadline and the time for ending; a busy machine needs some."""


class ResetRuns:
    """A factory of reset runners, which finds the processes of their resets by a mark that all of them inherit.

    Args:
        log: The list that receives the log entries.
    """

    def __init__(self, log: list[MutableMapping[str, Any]]) -> None:
        self.log = log
        self.mark = secrets.token_hex(8)

    def resetter(self, target: str = STUB, settings: object = None, **options: Any) -> ResetRunner:  # noqa: ANN401 - those of ResetRunner
        """Create a runner whose resets inherit the mark."""
        return ResetRunner(
            target, lambda: settings or {}, environment={VARIABLE: self.mark}, **{"term_timeout": 0.2, **options}
        )

    def stub(self, faults: Mapping[str, object], **options: Any) -> ResetRunner:  # noqa: ANN401 - those of ResetRunner
        """Create a runner for the stub; `faults` has the outcome of each device's reset."""
        return self.resetter(settings={"reset": faults}, **options)

    def processes(self) -> list[int]:
        """Return the processes of all resets, including those that left their session or parent, but no zombies."""
        return marked(VARIABLE, self.mark)

    def kill(self) -> None:
        """Kill the processes of all resets."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def printed(self, device: str) -> list[str]:
        """Return the lines that the resets of a device have printed."""
        return [
            entry["line"] for entry in self.log if entry["event"] == "reset output" and entry.get("device") == device
        ]


async def reset(resetter: ResetRunner, devices: Iterable[str] | str, deadline: float = LONG) -> dict[str, ResetResult]:
    """Reset devices by their ids."""
    ids = [devices] if isinstance(devices, str) else devices
    return await resetter.reset([ResetDevice(name) for name in ids], deadline)


def children() -> list[psutil.Process]:
    """Return the descendants of this process that a test has started, including zombies."""
    return [each for each in psutil.Process().children(recursive=True) if each.pid not in SERVERS]


def open_descriptors() -> dict[str, str]:
    """Return the open files of this process, by number."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - a Path for each would gain nothing
        with suppress(FileNotFoundError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - as above
    return found
