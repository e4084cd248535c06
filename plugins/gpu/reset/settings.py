"""What the plugin passes to its resets."""

from collections.abc import Mapping

import msgspec

from plugins.gpu.settings.levels import ResetLevel

MEMORY_SLACK = 512 << 20
"""Bytes that the driver itself may use on an unused GPU; the actual number depends on the card."""


class ResetSettings(msgspec.Struct, frozen=True):
    """Settings of a reset.

    Args:
        levels: The reset level by UUID.
        driver_root: The driver's root directory on the node.
        dev_root: The root directory of the device files on the node.
        container_driver_root: Where the plugin's process sees the driver root.
        memory_slack: Bytes that may be in use on an unused GPU.
        timeout: Seconds to wait until processes and memory of the last container are gone.
    """

    levels: Mapping[str, ResetLevel] = {}
    driver_root: str = "/"
    dev_root: str = "/"
    container_driver_root: str = ""
    memory_slack: int = MEMORY_SLACK
    timeout: float = 3
