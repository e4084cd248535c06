"""All device plugins of a node in one pod.

This is what a plugin author imports, with `hub.api.cdi` for CDI files, `hub.api.affinity` for
allocation hints between plugins, and `hub.testing` for tests; everything else in the package is internal.
"""

import importlib
from typing import TYPE_CHECKING

from hub._version import __version__

if TYPE_CHECKING:
    from hub.api.device import Allocation, Device, DeviceNode, Excluded, Mount
    from hub.api.health import Policy, Probing
    from hub.api.host import Host
    from hub.api.metrics import Histogram, Kind, Metric, Sample
    from hub.api.plugin import NeedsRestart, NoDevices, Plugin, Settings
    from hub.api.reset import ResetDevice, ResetFailed

__all__ = [
    "Allocation",
    "Device",
    "DeviceNode",
    "Excluded",
    "Histogram",
    "Host",
    "Kind",
    "Metric",
    "Mount",
    "NeedsRestart",
    "NoDevices",
    "Plugin",
    "Policy",
    "Probing",
    "ResetDevice",
    "ResetFailed",
    "Sample",
    "Settings",
    "__version__",
]

_HOMES = {
    "hub.api.metrics": ("Histogram", "Kind", "Metric", "Sample"),
    "hub.api.plugin": ("NeedsRestart", "NoDevices", "Plugin", "Settings"),
    "hub.api.device": ("Allocation", "Device", "DeviceNode", "Excluded", "Mount"),
    "hub.api.health": ("Policy", "Probing"),
    "hub.api.host": ("Host",),
    "hub.api.reset": ("ResetDevice", "ResetFailed"),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is used: the hub process is in this package too, and needs none of them."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
