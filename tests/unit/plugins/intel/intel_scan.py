"""The Intel plugin on a simulated node."""

import msgspec

from hub import Device, Excluded, Host
from plugins.intel import Intel
from plugins.intel.settings import IntelSettings
from tests.harness.scanned import scanned
from tests.simulators.inteltree import (
    IntelTree,
)


def plugin_of(tree: IntelTree, **settings: object) -> Intel:
    """Create the plugin on a node."""
    named = {key.replace("_", "-"): value for key, value in settings.items()}
    return Intel(msgspec.convert(named, IntelSettings), Host(tree.root))


def scan(tree: IntelTree, **settings: object) -> tuple[list[Device], dict[str, str]]:
    """Return the devices on a node, and the reasons of those that are excluded."""
    found = scanned(plugin_of(tree, **settings))
    devices = [each for each in found if isinstance(each, Device)]
    return devices, {each.id: each.reason for each in found if isinstance(each, Excluded)}
