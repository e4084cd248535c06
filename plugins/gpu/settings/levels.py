"""How far a reset goes."""

from enum import StrEnum


class ResetLevel(StrEnum):
    """What is done to a GPU before a container starts with it. Each level does what those before it do."""

    OFF = "off"
    """Nothing is done."""
    CHECK = "check"
    """The container is refused while somebody else is on the GPU."""
    CLEAN = "clean"
    """Settings that a container may have changed go back to their defaults."""
    RESET = "reset"
    """The GPU itself is reset."""
