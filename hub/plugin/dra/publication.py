"""The devices in the form that claims and slices use, evaluated once after each change."""

from collections.abc import Mapping, Sequence

from hub.api.plugin import Plugin
from hub.base.changecount import ChangeCounter
from hub.model.dra import Publication
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.pci import PciTree
from hub.plugin.dra.mapping import DraDevice, dra_devices


class DraDevices:
    """The devices of a plugin by their names in claims.

    Args:
        plugin: The plugin.
        driver: The driver's name.
        inventory: The devices.
        evict: Whether pods are evicted from devices that fail.
    """

    def __init__(self, plugin: Plugin, driver: str, inventory: Inventory, *, evict: bool = False) -> None:
        self._own_resource = plugin.resource
        self._driver = driver
        self._inventory = inventory
        self._evict = evict
        self._pci = PciTree(plugin.host)
        self._devices: Mapping[str, DraDevice] = {}
        self._version = -1

    @property
    def changes(self) -> ChangeCounter:
        """Counts the changes to the devices and in their health."""
        return self._inventory.changes

    def all(self) -> Sequence[DraDevice]:
        """Return all devices, in the plugin's order."""
        return list(self._latest().values())

    def get(self, name: str) -> DraDevice | None:
        """Return a device by its name; None if there is none."""
        return self._latest().get(name)

    def publication(self, *, registered: bool) -> Publication:
        """Return what should be published."""
        return Publication(self._driver, tuple(each.content for each in self.all()), registered)

    def withdrawal(self) -> Publication:
        """Return what a driver that is no longer used should publish."""
        return Publication(self._driver, (), registered=False, withdrawn=True)

    def problems(self, resource: str) -> tuple[str, ...]:
        """Return what was left out of the devices of a resource, without duplicates."""
        return tuple(dict.fromkeys(each.problem for each in self.all() if each.resource == resource and each.problem))

    def _latest(self) -> Mapping[str, DraDevice]:
        if self._inventory.changes.number != self._version:
            self._version = self._inventory.changes.number
            self._devices = dra_devices(self._inventory, self._own_resource, self._driver, self._pci, evict=self._evict)
        return self._devices
