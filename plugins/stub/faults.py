"""The faults of the stub: a file that can be changed while the stub is running."""

from pathlib import Path
from typing import Annotated

import msgspec

from hub import Settings
from plugins.stub.reset import ResetFault
from plugins.stub.settings import Count

Seconds = Annotated[float, msgspec.Meta(ge=0)]


class AllocateFault(Settings, frozen=True):
    """Simulated faults in Allocate."""

    delay: Seconds = 0
    """Seconds before it answers."""
    hang: bool = False
    """It never answers."""
    fail: str = ""
    """It fails with this message."""


class PreferFault(Settings, frozen=True):
    """Simulated faults in GetPreferredAllocation."""

    hang: bool = False
    """It never answers."""
    fail: str = ""
    """It fails with this message."""


class Crash(Settings, frozen=True):
    """The process exits at its next scan."""

    exit: int = 1
    """Its exit code."""
    signal: int = 0
    """The signal that terminates it instead; 0 for none."""


class Faults(Settings, frozen=True):
    """The fault file."""

    unhealthy: dict[str, str] = {}
    """Reasons why devices cannot be used, by device id."""
    devices: dict[str, Count] = {}
    """Numbers of devices that override the configured ones, by resource."""
    scan: str = ""
    """The scan for devices fails with this message."""
    hang: bool = False
    """The scan for devices never finishes."""
    allocate: AllocateFault = AllocateFault()
    prefer: PreferFault = PreferFault()
    crash: Crash | None = None
    reset: dict[str, ResetFault] = {}
    """Faults to simulate in resets, by device id; `*` stands for all other devices."""


def read_faults(path: Path | None) -> Faults:
    """Read the fault file; a missing or empty one has no faults.

    Raises:
        hub.ConfigError: the file contains something that is not a fault.
    """
    if path is None or not path.exists() or not path.stat().st_size:
        return Faults()
    return Faults.read(path)
