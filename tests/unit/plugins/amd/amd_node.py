"""What the plugin finds on a simulated node."""

from collections import Counter
from typing import Any, NamedTuple

import msgspec

from hub import Device, Excluded, Host, Unmatched
from plugins.amd.plugin import AMD
from plugins.amd.settings import AMDSettings
from tests.harness.scanned import scanned
from tests.simulators.amdtree import AmdTree


class Found(NamedTuple):
    """The result of a scan."""

    devices: dict[str, Device]
    excluded: dict[str, str]
    unmatched: list[str]
    """What the settings do not match."""

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of devices of each resource."""
        return dict(Counter(device.resource for device in self.devices.values()))


def plugin(tree: AmdTree, **settings: Any) -> AMD:  # noqa: ANN401 - any key of the file
    """Return a plugin with these settings."""
    return AMD(msgspec.convert(settings, AMDSettings), Host(tree.root))


def scan(tree: AmdTree, **settings: Any) -> Found:  # noqa: ANN401 - any key of the file
    """Scan the node once."""
    return result(plugin(tree, **settings))


def result(scanning: AMD) -> Found:
    """Scan the node of a plugin."""
    found = scanned(scanning)
    devices = {each.id: each for each in found if isinstance(each, Device)}
    excluded = {each.id: each.reason for each in found if isinstance(each, Excluded)}
    return Found(devices, excluded, [each.reason for each in found if isinstance(each, Unmatched)])
