"""How a device comes back, and when it is tried: what a plugin may choose."""

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How a device comes back."""

    quiet: float = 0
    """Seconds without a fault before a device counts as healthy again."""
    recoveries: int = 3
    """So many recoveries within `period` are one too many flaps: the next one waits for an operator."""
    period: float = 3600
    """Seconds in which recoveries are counted."""


class Probing(msgspec.Struct, frozen=True, kw_only=True):
    """When devices that cannot be reset are tried again."""

    interval: float = 5
    """Seconds between two rounds."""
    longest: float = 300
    """Seconds at most between two probes of one device; they double with each probe that fails."""
    settling: float = 30
    """Seconds after a kubelet came in which it may not know yet who holds what."""
