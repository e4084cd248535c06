"""Hardware that is usually served by this plugin, regardless of the settings."""

from collections.abc import Iterator, Mapping

from hub import Host, pci_functions
from plugins.generic.discovery.files import find_files
from plugins.generic.discovery.sysfs import Sysfs, facts
from plugins.generic.discovery.vfio import DRIVER

_USUAL: Mapping[str, str] = {
    "/dev/ttyUSB*": "serial adapter",
    "/dev/ttyACM*": "serial adapter",
    "/dev/cdc-wdm*": "modem",
    "/dev/video*": "video device",
    "/dev/snd/controlC*": "sound card",
}
"""The kind of files that match each pattern. Files that every node has, such as /dev/kvm, are not listed."""


def usual_hardware(host: Host) -> Iterator[str]:
    """Return a description of each such device on the node."""
    sysfs = Sysfs(host)
    for pattern, kind in _USUAL.items():
        for file in find_files(host, sysfs, pattern):
            known = facts(file.device)
            ids = f" ({known['vendor']}:{known['product']})" if {"vendor", "product"} <= known.keys() else ""
            yield f"{kind} {file.path}{ids}"
    yield from (f"PCI function {each} for {DRIVER}" for each in pci_functions(host) if each.driver == DRIVER)
