"""All of a node's device plugins in one pod.

A plugin imports this module and none below it; its tests also import `hub.testing`. Everything else is internal.
"""

import importlib
from typing import TYPE_CHECKING

from hub._version import __version__

if TYPE_CHECKING:
    from hub.api.affinity import AllocationHint, best_numa_nodes, read_allocation_hint
    from hub.api.cdi import CDI_DIRECTORY, CdiSpecFiles, cdi_spec
    from hub.api.device import Allocation, Device, DeviceNode, Excluded, Mount, Unmatched
    from hub.api.health import RecoveryPolicy, ResetRetryPolicy
    from hub.api.host import Host
    from hub.api.kernel import (
        PCI_ADDRESS,
        PciFunction,
        link_name,
        natural_order,
        pci_functions,
        process_name,
        read_attribute,
        read_number,
        sorted_entries,
    )
    from hub.api.metrics import Histogram, Kind, Metric, Sample
    from hub.api.mistakes import validation_problem
    from hub.api.plugin import NeedsRestart, NoDevices, Plugin, RequestRejected, Settings
    from hub.api.reset import ResetDevice, ResetFailed
    from hub.api.runtime import FileLock, Runtime
    from hub.api.settings import parse_yaml
    from hub.api.templates import check_template, fill_template
    from hub.base.errors import ConfigError
    from hub.base.filewatch import watch_directories
    from hub.base.program import ProgramFailed, run_program
    from hub.base.threads import SupervisedThread
    from hub.base.untrusted import MissingError, UnreadableError, read_text
    from hub.rpc import ServiceError, call_service, message_fields

__all__ = [
    "CDI_DIRECTORY",
    "PCI_ADDRESS",
    "Allocation",
    "AllocationHint",
    "CdiSpecFiles",
    "ConfigError",
    "Device",
    "DeviceNode",
    "Excluded",
    "FileLock",
    "Histogram",
    "Host",
    "Kind",
    "Metric",
    "MissingError",
    "Mount",
    "NeedsRestart",
    "NoDevices",
    "PciFunction",
    "Plugin",
    "ProgramFailed",
    "RecoveryPolicy",
    "RequestRejected",
    "ResetDevice",
    "ResetFailed",
    "ResetRetryPolicy",
    "Runtime",
    "Sample",
    "ServiceError",
    "Settings",
    "SupervisedThread",
    "Unmatched",
    "UnreadableError",
    "__version__",
    "best_numa_nodes",
    "call_service",
    "cdi_spec",
    "check_template",
    "fill_template",
    "link_name",
    "message_fields",
    "natural_order",
    "parse_yaml",
    "pci_functions",
    "process_name",
    "read_allocation_hint",
    "read_attribute",
    "read_number",
    "read_text",
    "run_program",
    "sorted_entries",
    "validation_problem",
    "watch_directories",
]

_HOMES = {
    "hub.api.metrics": ("Histogram", "Kind", "Metric", "Sample"),
    "hub.api.plugin": ("NeedsRestart", "NoDevices", "Plugin", "RequestRejected", "Settings"),
    "hub.api.affinity": ("AllocationHint", "best_numa_nodes", "read_allocation_hint"),
    "hub.api.cdi": ("CDI_DIRECTORY", "CdiSpecFiles", "cdi_spec"),
    "hub.base.errors": ("ConfigError",),
    "hub.base.threads": ("SupervisedThread",),
    "hub.base.untrusted": ("MissingError", "UnreadableError", "read_text"),
    "hub.api.mistakes": ("validation_problem",),
    "hub.api.settings": ("parse_yaml",),
    "hub.api.device": ("Allocation", "Device", "DeviceNode", "Excluded", "Mount", "Unmatched"),
    "hub.api.health": ("RecoveryPolicy", "ResetRetryPolicy"),
    "hub.api.host": ("Host",),
    "hub.api.runtime": ("FileLock", "Runtime"),
    "hub.api.reset": ("ResetDevice", "ResetFailed"),
    "hub.api.kernel": (
        "PCI_ADDRESS",
        "PciFunction",
        "link_name",
        "natural_order",
        "pci_functions",
        "process_name",
        "read_attribute",
        "read_number",
        "sorted_entries",
    ),
    "hub.api.templates": ("check_template", "fill_template"),
    "hub.base.filewatch": ("watch_directories",),
    "hub.base.program": ("ProgramFailed", "run_program"),
    "hub.rpc": ("ServiceError", "call_service", "message_fields"),
}


def __getattr__(name: str) -> object:
    """Import a public name on first use: the hub process imports this package too, and needs none of these names."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
