"""What the stub is told to do wrong: a file that can be changed while it runs."""

from pathlib import Path

import msgspec

from hub import Settings


class AllocateFault(Settings, frozen=True):
    """What goes wrong in Allocate."""

    delay: float = 0
    """Seconds before it answers."""
    hang: bool = False
    """It never answers."""
    fail: str = ""
    """It fails, with this text."""


class PreferFault(Settings, frozen=True):
    """What goes wrong in GetPreferredAllocation."""

    hang: bool = False
    fail: str = ""


class Crash(Settings, frozen=True):
    """The process ends at its next scan."""

    exit: int = 1
    """With this exit code,"""
    signal: int = 0
    """or by this signal."""


class Faults(Settings, frozen=True):
    """The fault file."""

    unhealthy: dict[str, str] = {}
    """Device id to the reason why it cannot be used."""
    devices: dict[str, int] = {}
    """Resource to another number of devices."""
    scan: str = ""
    """The scan for devices fails, with this text."""
    allocate: AllocateFault = AllocateFault()
    prefer: PreferFault = PreferFault()
    crash: Crash | None = None


def read_faults(path: Path | None) -> Faults:
    """The faults asked for; none where there is no file.

    Raises:
        ValueError: the file says something that is no fault.
    """
    if path is None or not path.exists():
        return Faults()
    try:
        return msgspec.yaml.decode(path.read_bytes() or b"{}", type=Faults)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}") from None
