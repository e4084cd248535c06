"""A reset that does nothing, to measure only the overhead."""

from typing import Any

from hub import ResetDevice


def reset(device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - a plugin's settings
    """Do nothing."""
