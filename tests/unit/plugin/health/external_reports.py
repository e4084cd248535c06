"""Reports that other programs write, and the health store that reads them."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from hub.api.device import Device
from hub.api.health import RecoveryPolicy
from hub.plugin.health.store import HealthStore
from hub.plugin.ownership import Ownership

GPU = "nvidia.com/gpu"
DEVICE = Device("share-0", physical="GPU-1", pci=("0000:07:00.0",), attributes={"name": "card0"})
OTHER = Device("share-9", physical="GPU-9", pci=("0000:09:00.0",), attributes={"name": "card9"})


class Clock:
    """A clock that a test advances; it starts at the present time, because files have real times."""

    def __init__(self) -> None:
        self.now = time.time() + 10

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def make_store(directory: Path, clock: Callable[[], float] | None = None) -> HealthStore:
    """Create the health store of a plugin that serves, with this directory of reports."""
    ownership = Ownership(None, "stub", Path())
    ownership.acquire()
    return HealthStore(None, RecoveryPolicy(), ownership, clock or Clock(), external=directory)


def say(directory: Path, name: str = "a.json", **fields: object) -> Path:
    """Write a report as a program should: under another name first."""
    path = directory / name
    scratch = directory / ".new"
    scratch.write_text(json.dumps({"device": "GPU-1", "source": "memory-test", "reason": "row 7 is bad", **fields}))
    scratch.replace(path)
    return path


def at(seconds: float) -> str:
    """Return a Unix time as a report contains it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()
