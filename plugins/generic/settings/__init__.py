"""The settings of the generic plugin."""

from plugins.generic.settings.file import GenericSettings
from plugins.generic.settings.resource import MAX_RESOURCES, SHARE, Health, MountSetting, Reset, Resource
from plugins.generic.settings.selectors import (
    Group,
    GroupFile,
    Pairing,
    PciSelector,
    SysfsSelector,
    UsbSelector,
    plain_hex,
)
from plugins.generic.settings.smarter import SmarterEntry, smarter_resources, still_served

__all__ = [
    "MAX_RESOURCES",
    "SHARE",
    "GenericSettings",
    "Group",
    "GroupFile",
    "Health",
    "MountSetting",
    "Pairing",
    "PciSelector",
    "Reset",
    "Resource",
    "SmarterEntry",
    "SysfsSelector",
    "UsbSelector",
    "plain_hex",
    "smarter_resources",
    "still_served",
]
