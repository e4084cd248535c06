"""What a reset of a virtual function needs to know."""

import msgspec


class VfTimeouts(msgspec.Struct, frozen=True):
    """Seconds that each write and each wait may take; the time of a container's resets bounds all of them together."""

    unbind: float = 5
    reset: float = 6
    bind: float = 6
    ready: float = 4


class VfResetSettings(msgspec.Struct, frozen=True):
    """What a reset needs to know."""

    limits: VfTimeouts = VfTimeouts()
