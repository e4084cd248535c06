"""Allocation hints: the devices that a container has just got, for plugins that choose others close to them."""

from collections.abc import Iterable

from hub.api.affinity import write_allocation_hint
from hub.api.device import Device
from hub.api.plugin import Plugin
from hub.base.log import get_logger


def record_allocation(plugin: Plugin, devices: Iterable[Device]) -> None:
    """Record where the devices of a container are, if the plugin names their kind; log a failure."""
    if not plugin.hint_kind:
        return
    try:
        write_allocation_hint(plugin.runtime, plugin.hint_kind, [pci for device in devices for pci in device.pci])
    except OSError as error:
        get_logger().warning("allocation hint not written", reason=str(error))
