"""PLACEHOLDER by the lead; the reset helper replaces this file."""

from collections.abc import Mapping

import msgspec


class ResetSettings(msgspec.Struct, frozen=True):
    """What a reset needs to know."""

    levels: Mapping[str, str] = {}
    driver_root: str = "/"
    dev_root: str = "/"
    container_driver_root: str = ""
