"""Settings that the plugin passes to resets of virtual functions."""

import msgspec


class VfTimeouts(msgspec.Struct, frozen=True):
    """Seconds for each write and each wait; the time for the resets of a container limits their sum."""

    unbind: float = 5
    reset: float = 6
    bind: float = 6
    ready: float = 4


class VfResetSettings(msgspec.Struct, frozen=True):
    """Settings of a reset."""

    timeouts: VfTimeouts = VfTimeouts()
