"""The policies that a plugin can set for unhealthy devices."""

import msgspec


class RecoveryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When an unhealthy device becomes healthy again."""

    stable_for: float = 0
    """Seconds without a fault before a device is healthy again."""
    max_recoveries: int = 3
    """Maximum number of recoveries within `window`: a device that fails again after that stays unhealthy until an
    administrator uncordons it."""
    window: float = 3600
    """Seconds over which recoveries are counted."""


class ResetRetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When the reset of a broken device is retried."""

    interval: float = 5
    """Seconds between checks for devices that are due."""
    max_interval: float = 300
    """Maximum seconds between retries for one device; the delay doubles with each failure."""
    startup_delay: float = 30
    """Seconds to wait after a kubelet starts, because it may not yet know which container uses which device."""
