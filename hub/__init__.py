"""All device plugins of a node in one pod.

This is what a plugin author imports, with `hub.reset` for resets, `hub.cdi` for CDI files, `hub.affinity` for what is
close to what another plugin gave, and `hub.kubelet.fake` for tests; everything else in the package is the hub's own.
"""

import importlib
from typing import TYPE_CHECKING

from hub._version import __version__

if TYPE_CHECKING:
    from hub.metric import Histogram, Kind, Metric, Sample
    from hub.plugin.contract import NeedsRestart, NoDevices, Plugin, Settings
    from hub.plugin.device import Allocation, Device, DeviceNode, Excluded, Mount
    from hub.plugin.health import Policy, Probing
    from hub.plugin.host import Host

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
    "Sample",
    "Settings",
    "__version__",
]

_HOMES = {
    "hub.metric": ("Histogram", "Kind", "Metric", "Sample"),
    "hub.plugin.contract": ("NeedsRestart", "NoDevices", "Plugin", "Settings"),
    "hub.plugin.device": ("Allocation", "Device", "DeviceNode", "Excluded", "Mount"),
    "hub.plugin.health": ("Policy", "Probing"),
    "hub.plugin.host": ("Host",),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is used: the hub process is in this package too, and needs none of them."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
