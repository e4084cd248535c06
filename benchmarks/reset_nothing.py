"""A reset that does nothing, so that only what surrounds it is measured."""

from typing import Any

from hub import ResetDevice


def reset(device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - a plugin's settings
    """Do nothing."""
