"""Reset levels."""

from enum import StrEnum


class ResetLevel(StrEnum):
    """What is done to a GPU before a container that uses it starts. Each level includes the ones before it."""

    OFF = "off"
    """Do nothing."""
    CHECK = "check"
    """Refuse the container while other processes are using the GPU."""
    CLEAN = "clean"
    """Restore the defaults of settings that a container may have changed."""
    RESET = "reset"
    """Reset the GPU itself."""
