"""The bridges above a PCI device, as sysfs nests them."""

import os
import re
from pathlib import Path

from hub.api.host import Host
from hub.api.kernel import PCI_ADDRESS

_PCI_ROOT = re.compile("pci[0-9a-f]{4,8}:[0-9a-f]{2}")


class PciTree:
    """Looks up the bridges of each address once: a device in a different slot has a different address.

    Args:
        host: The node's file system.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[str, tuple[str, ...]] = {}

    def upstream(self, address: str) -> tuple[str, ...]:
        """Return the bridges above a device, the outermost first; none if sysfs does not show the device."""
        if address not in self._known:
            link = self._host.path(f"/sys/bus/pci/devices/{address}")
            if not PCI_ADDRESS.fullmatch(address) or not link.exists():
                return ()
            parents = Path(os.path.realpath(link)).parent.parts
            self._known[address] = tuple(part for part in parents if PCI_ADDRESS.fullmatch(part))
        return self._known[address]

    def root(self, address: str) -> str:
        """Return the PCI root complex of a device, such as `pci0000:3a`; empty if sysfs does not show the device."""
        link = self._host.path(f"/sys/bus/pci/devices/{address}")
        if not PCI_ADDRESS.fullmatch(address) or not link.exists():
            return ""
        return next((part for part in Path(os.path.realpath(link)).parts if _PCI_ROOT.fullmatch(part)), "")
