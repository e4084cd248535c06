"""All device plugins of a node in one pod.

This is what a plugin author imports, with `hub.reset` for resets and `hub.kubelet.fake` for tests; everything else in
the package is the hub's own.
"""

from hub._version import __version__
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
