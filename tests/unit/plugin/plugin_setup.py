"""The parts of a plugin process below the kubelet's API, without a process."""

from collections.abc import Callable
from pathlib import Path

from hub.api.device import Device
from hub.api.health import RecoveryPolicy
from hub.api.plugin import Plugin
from hub.base.statusfile import StatusFile
from hub.kubelet.checkpoint import Checkpoint
from hub.plugin.devices.devicelist import ScannedDevices
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.resource import ResourceDevices
from hub.plugin.devices.scan import Scan
from hub.plugin.health.store import DeviceHealth, HealthStore
from hub.plugin.history import History
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership

STUB = "example.com/stub"
FAILED = Scan(reason="no driver", fault=True, failed=True)


class CountingStore(HealthStore):
    """A store that counts how often the health of a device is evaluated."""

    evaluations = 0

    def health_of(self, resource: str, device: Device) -> DeviceHealth:
        """Evaluate it, as usual."""
        self.evaluations += 1
        return super().health_of(resource, device)


class Setup:
    """An inventory and what it depends on."""

    def __init__(
        self,
        make_store: Callable[[None, RecoveryPolicy, Ownership], CountingStore] = CountingStore,
        plugin_dir: Path = Path("/nonexistent"),
    ) -> None:
        self.ownership = ownership = Ownership(None, "stub", Path())
        self.store = make_store(None, RecoveryPolicy(), ownership)
        self.metrics = ProcessMetrics()
        self.status = StatusFile(None, dict)
        self.inventory = Inventory(
            Plugin,
            self.store,
            self.ownership,
            checkpoint=Checkpoint(plugin_dir),
            metrics=self.metrics,
            status=self.status,
        )
        self.history = History(None, self.inventory, ownership, self.metrics)

    def scan(self, *devices: Device) -> None:
        """Find these devices."""
        self.inventory.update(Scan({STUB: ScannedDevices.of(devices)}))

    @property
    def resource(self) -> ResourceDevices:
        """The only resource."""
        (resource,) = self.inventory
        return resource
