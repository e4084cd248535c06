"""What the stub is told to do wrong: a file that can be changed while it runs."""

from pathlib import Path
from typing import Annotated

import msgspec

from hub import Settings
from plugins.stub.reset import ResetFault
from plugins.stub.settings import Count

Seconds = Annotated[float, msgspec.Meta(ge=0)]


class AllocateFault(Settings, frozen=True):
    """What goes wrong in Allocate."""

    delay: Seconds = 0
    """Seconds before it answers."""
    hang: bool = False
    """It never answers."""
    fail: str = ""
    """It fails, with this text."""


class PreferFault(Settings, frozen=True):
    """What goes wrong in GetPreferredAllocation."""

    hang: bool = False
    """It never answers."""
    fail: str = ""
    """It fails, with this text."""


class Crash(Settings, frozen=True):
    """The process ends at its next scan."""

    exit: int = 1
    """Its exit code."""
    signal: int = 0
    """The signal that ends it instead; 0 for none."""


class Faults(Settings, frozen=True):
    """The fault file."""

    unhealthy: dict[str, str] = {}
    """Device id to the reason why it cannot be used."""
    devices: dict[str, Count] = {}
    """Resource to another number of devices."""
    scan: str = ""
    """The scan for devices fails, with this text."""
    hang: bool = False
    """The scan for devices never ends."""
    allocate: AllocateFault = AllocateFault()
    prefer: PreferFault = PreferFault()
    crash: Crash | None = None
    reset: dict[str, ResetFault] = {}
    """Device id, or `*` for every other one, to what its reset does."""


def read_faults(path: Path | None) -> Faults:
    """The faults asked for; none where there is no file, or an empty one.

    Raises:
        hub.ConfigError: the file says something that is no fault.
    """
    if path is None or not path.exists() or not path.stat().st_size:
        return Faults()
    return Faults.read(path)
