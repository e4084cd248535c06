"""What the plugin tells its resets."""

from collections.abc import Mapping

import msgspec

from plugins.gpu.settings.levels import ResetLevel

MEMORY_SLACK = 512 << 20
"""Bytes that may be in use on a GPU that nobody uses: the driver's own, which differ from card to card."""


class ResetSettings(msgspec.Struct, frozen=True):
    """What a reset needs to know.

    Args:
        levels: How far it goes, by UUID.
        driver_root: Where the node has the driver.
        dev_root: Where the node has the device files.
        container_driver_root: Where the plugin's process finds the driver root.
        memory_slack: Bytes that may be in use on a free GPU.
        timeout: Seconds that a process or memory of the last container may take to go.
    """

    levels: Mapping[str, ResetLevel] = {}
    driver_root: str = "/"
    dev_root: str = "/"
    container_driver_root: str = ""
    memory_slack: int = MEMORY_SLACK
    timeout: float = 3
