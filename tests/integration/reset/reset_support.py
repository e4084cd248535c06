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
from tests.harness.processes import marked

STUB = "plugins.stub.reset:reset"
VARIABLE = "RESET_TEST"

LONG = 60.0
"""A deadline that is not reached."""

SHORT = 3.0
"""A deadline that is, but not before a process has started."""

ALLOWANCE = 10.0
"""Seconds that a test lets pass beyond a deadline and the time for ending; a busy machine needs some."""


class Workshop:
    """Makes resetters, and finds the processes of their resets by a mark that all of them inherit.

    Args:
        log: What is logged, as it comes.
    """

    def __init__(self, log: list[MutableMapping[str, Any]]) -> None:
        self.log = log
        self.mark = secrets.token_hex(8)

    def resetter(self, target: str = STUB, settings: object = None, **options: Any) -> ResetRunner:  # noqa: ANN401 - those of ResetRunner
        """A resetter whose resets carry the mark."""
        return ResetRunner(
            target, lambda: settings or {}, environment={VARIABLE: self.mark}, **{"term_timeout": 0.2, **options}
        )

    def stub(self, faults: Mapping[str, object], **options: Any) -> ResetRunner:  # noqa: ANN401 - those of ResetRunner
        """A resetter for the stub: by device, how its reset goes."""
        return self.resetter(settings={"reset": faults}, **options)

    def processes(self) -> list[int]:
        """The processes of all resets, those that left their session or their parent included, but no zombies."""
        return marked(VARIABLE, self.mark)

    def kill(self) -> None:
        """Let nothing be left for the next test."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def printed(self, device: str) -> list[str]:
        """The lines that a device's resets printed into the log."""
        return [
            entry["line"] for entry in self.log if entry["event"] == "reset printed" and entry.get("device") == device
        ]


async def reset(resetter: ResetRunner, devices: Iterable[str] | str, deadline: float = LONG) -> dict[str, ResetResult]:
    """Reset devices by their ids."""
    ids = [devices] if isinstance(devices, str) else devices
    return await resetter.reset([ResetDevice(name) for name in ids], deadline)


def children() -> list[psutil.Process]:
    """All descendants of this process, zombies included."""
    return psutil.Process().children(recursive=True)


def open_descriptors() -> dict[str, str]:
    """What this process holds open, by number."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - a Path for each would be no gain
        with suppress(FileNotFoundError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - likewise
    return found
