"""How a device comes back, and when it is tried: what a plugin may choose."""

import msgspec


class RecoveryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a device comes back."""

    stable_for: float = 0
    """Seconds without a fault before a device counts as healthy again."""
    max_recoveries: int = 3
    """So many recoveries within `window` are one too many flaps: the next one waits for an operator."""
    window: float = 3600
    """Seconds in which recoveries are counted."""


class ProbePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When devices that cannot be reset are tried again."""

    interval: float = 5
    """Seconds between two rounds."""
    max_interval: float = 300
    """Seconds at most between two probes of one device; they double with each probe that fails."""
    startup_delay: float = 30
    """Seconds after a kubelet came in which it may not know yet who holds what."""
