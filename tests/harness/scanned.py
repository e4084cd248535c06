"""A scan of a plugin in the test's own process, as a serving plugin performs it."""

from hub import Device, Excluded, Plugin, Unmatched


def scanned(plugin: Plugin) -> list[Device | Excluded | Unmatched]:
    """Return what a plugin finds; its devices are returned in their state after it has prepared the node for them."""
    found = list(plugin.devices())
    devices = [each for each in found if isinstance(each, Device)]
    return [*plugin.prepare(devices), *(each for each in found if not isinstance(each, Device))]
