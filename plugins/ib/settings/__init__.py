"""The settings of the IB plugin."""

from plugins.ib.settings.file import IBSettings
from plugins.ib.settings.pools import (
    CDI_VENDOR,
    CdiStrategy,
    ExtraNode,
    Mode,
    Pool,
    PoolHealth,
    PortRule,
    Selectors,
)

__all__ = [
    "CDI_VENDOR",
    "CdiStrategy",
    "ExtraNode",
    "IBSettings",
    "Mode",
    "Pool",
    "PoolHealth",
    "PortRule",
    "Selectors",
]
