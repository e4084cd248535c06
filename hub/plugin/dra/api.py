"""Dynamic resource allocation: one driver for all resources of a plugin.

A driver that is no longer used has no devices and prepares no claims, but it still releases the claims of pods: a pod
cannot terminate without that. See `retired`.
"""

import asyncio
import time
from collections.abc import Iterator

from hub.base.changecount import ChangeCounter, next_change
from hub.base.log import get_logger
from hub.base.paths import RunDir
from hub.model.dra import Publication
from hub.model.plugin import RegistrationStatus
from hub.plugin.devices.resource import ResourceDevices
from hub.plugin.dra.component import Component
from hub.plugin.dra.healthstream import SERVICES as HEALTH_SERVICES
from hub.plugin.dra.healthstream import HealthStream
from hub.plugin.dra.held import HeldDevices
from hub.plugin.dra.preparation import Preparation
from hub.plugin.dra.publication import DraDevices
from hub.plugin.dra.records import ClaimRecords
from hub.plugin.dra.released import ReleasedClaims
from hub.plugin.dra.server import DraServer, KubeletDirs, Registration
from hub.plugin.dra.servicer import VERSIONS, DraServicer
from hub.plugin.kubeletapi import ApiParts, ResourceView
from hub.plugin.ownership import Role


class DraApi:
    """Serves a plugin's devices as a DRA driver, from its first scan on.

    Args:
        parts: The parts of the process.
        driver: The driver's name.
        run_dir: The run directory, and the hub to which the process belongs.
        records: What was prepared for claims.
        retired: Whether the driver is no longer used.
        evict: Whether pods are evicted from devices that fail.

    Attributes:
        component: Publishes the devices.
        claims: Notified when a claim is prepared or released, or its devices are reset.
    """

    def __init__(
        self,
        parts: ApiParts,
        driver: str,
        run_dir: RunDir,
        records: ClaimRecords,
        *,
        retired: bool = False,
        evict: bool = False,
    ) -> None:
        self._driver = driver
        self._retired = retired
        self._records = records
        self._inventory = parts.inventory
        self._ownership = parts.ownership
        self._status = parts.status
        self._tasks = parts.tasks
        self._metrics = parts.metrics
        self._log = get_logger(driver=driver)
        self._changed = ChangeCounter()
        self._held = None if retired else HeldDevices(parts, self._changed)
        self._since = time.time()
        self._is_exiting = False
        self._state = RegistrationStatus.WAITING
        self.component = Component(run_dir.dra_socket, driver)
        self._devices = DraDevices(parts.plugin, driver, parts.inventory, evict=evict)
        self._released = ReleasedClaims(parts, driver, records)
        self._preparation = Preparation(
            parts,
            driver,
            devices=self._devices,
            component=self.component,
            records=records,
            released=self._released,
            held=self._held,
        )
        self.claims = self._preparation.changes
        self._servicer = DraServicer(self._preparation, parts.metrics, parts.status)
        self._health = HealthStream(self._devices, self._pool, parts, self._changed)
        self._dirs = KubeletDirs(parts.plugin_dir)
        self._socket = self._dirs.service_socket(driver, run_dir.instance)
        self._registration = Registration(driver, self._socket, (*VERSIONS, *HEALTH_SERVICES), self._changed)
        self._server = DraServer(
            self._dirs.registration_socket(driver, run_dir.instance),
            self._socket,
            self._registration,
            self._servicer,
            self._health,
        )

    def __iter__(self) -> Iterator[ResourceView]:
        return (self._served(resource) for resource in self._inventory)

    async def run(self) -> None:
        """Serve from the first scan on, until cancelled."""
        self._preparation.restore()
        while self._ownership.role is Role.STANDBY:
            await next_change((each, each.number) for each in (self._changed, self._inventory.changes))
        self._dirs.remove_dead(self._driver)
        if self._held:
            self._records.begin(self._driver)
            # Done before a claim can get a device: a container may have got that device through the other API.
            await self._held.refresh()
        self._released.find()
        await self._server.bind()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tasks.run("reset of released devices", self._released.run))
                group.create_task(_relay(self._released.changes, self.claims))
                group.create_task(self._count_claims())
                group.create_task(self._tasks.run("publication of devices", self.publish))
                if self._held:
                    group.create_task(self._tasks.run("check for devices in use", self._held.run))
                group.create_task(self._follow())
        finally:
            await asyncio.shield(self._server.close())

    async def hand_over(self) -> None:
        """Unregister, and finish the calls that are running: another hub's driver is called from now on."""
        self._is_exiting = True
        await self._server.close()
        await self._servicer.finish()

    def check(self) -> None:
        """Notice another hub, and a kubelet that has disappeared."""
        self._changed.bump()
        self._released.check()

    def reregister(self) -> None:
        """Do nothing: a kubelet finds the sockets on its own when it starts."""

    async def _follow(self) -> None:
        """Follow the registration, and serve again if a socket has been removed."""
        while True:
            seen = self._changed.number
            self._update_state()
            if not (self._server.is_reachable or self._is_exiting):
                self._log.warning("driver socket removed", socket=str(self._socket))
                await self._server.bind()
            await self._changed.wait_beyond(seen)

    def _update_state(self) -> None:
        state = self._current_state()
        if state is not self._state:
            self._state, self._since = state, time.time()
            self._status.mark_changed()

    def _current_state(self) -> RegistrationStatus:
        if self._ownership.role is Role.SUPERSEDED:
            return RegistrationStatus.SUPERSEDED
        registration = self._registration
        if registration.accepted is False:
            return RegistrationStatus.REJECTED
        # A kubelet keeps a stream open. If it has never opened one, it may not know the service.
        is_connected = self._health.open or not self._health.opened
        return RegistrationStatus.REGISTERED if registration.accepted and is_connected else RegistrationStatus.WAITING

    async def publish(self) -> None:
        """Keep the devices published, or withdrawn, until cancelled."""
        changed = ChangeCounter()
        async with asyncio.TaskGroup() as group:
            group.create_task(_relay(self._changed, changed))
            group.create_task(_relay(self._inventory.changes, changed))
            group.create_task(self._report_component())
            await self.component.keep_published(self._publication, changed)

    async def _report_component(self) -> None:
        while True:
            seen = self.component.changes.number
            self._status.mark_changed()
            await self.component.changes.wait_beyond(seen)

    async def _count_claims(self) -> None:
        """Keep the metric of claims up to date."""
        while True:
            seen = self.claims.number
            self._metrics.set_claims(self._records.counts())
            await self.claims.wait_beyond(seen)

    def _publication(self) -> Publication | None:
        """Return what should be published; None if a newer hub does that."""
        if self._ownership.role is not Role.ACTIVE:
            return None
        if self._retired:
            return self._devices.withdrawal()
        return self._devices.publication(registered=self._current_state() is RegistrationStatus.REGISTERED)

    def _pool(self) -> str:
        return self.component.state.pool

    def _served(self, resource: ResourceDevices) -> ResourceView:
        state = self.component.state
        problems = self._devices.problems(resource.name)
        return ResourceView(
            devices=resource,
            socket=self._socket.name,
            registration=self._state,
            since=self._since,
            registrations=self._registration.count,
            detail=self._registration.error,
            problems=(*problems, state.problem) if state.problem else problems,
            failing=self._preparation.failing.get(resource.name, ""),
            rejection=self._servicer.rejection,
        )


async def _relay(source: ChangeCounter, target: ChangeCounter) -> None:
    """Count each change to one counter in another, which can thus count changes to several."""
    while True:
        target.bump()
        await source.wait_beyond(source.number)
