"""The common interface of the APIs with which a kubelet gives devices to containers."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from hub.api.plugin import Plugin
from hub.base.statusfile import StatusFile
from hub.base.tasks import Tasks
from hub.model.plugin import RegistrationStatus, Rejection
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.resource import ResourceDevices
from hub.plugin.health.store import HealthStore
from hub.plugin.holders import Holders
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership
from hub.plugin.resets.service import ResetService


class ApiParts(NamedTuple):
    """The parts of a plugin process on which an API is built."""

    plugin: Plugin
    plugin_dir: Path
    """The kubelet's directory for device plugins."""
    inventory: Inventory
    resets: ResetService
    holders: Holders
    health: HealthStore
    ownership: Ownership
    metrics: ProcessMetrics
    status: StatusFile
    """Written when anything has changed."""
    tasks: Tasks
    """The tasks that keep the resources served."""


class ResourceView(NamedTuple):
    """A resource as it is served now."""

    devices: ResourceDevices
    socket: str
    """File name of the socket."""
    registration: RegistrationStatus
    since: float
    """Unix time."""
    registrations: int
    detail: str = ""
    omitted: Collection[str] = ()
    """The ids of the devices that do not fit in the API's message."""
    problems: tuple[str, ...] = ()
    failing: str = ""
    rejection: Rejection | None = None


class KubeletApi(Protocol):
    """One of the APIs with which a kubelet gives devices to containers."""

    def __iter__(self) -> Iterator[ResourceView]:
        """Return the resources that are served."""

    async def run(self) -> None:
        """Serve until cancelled."""

    async def hand_over(self) -> None:
        """Let other hubs serve, before this process exits."""

    def check(self) -> None:
        """Have each registration verified."""

    def reregister(self) -> None:
        """Verify each registration now, without waiting for the next attempt."""
