"""Dynamic resource allocation: one driver for all resources of a plugin."""

import asyncio
import time
from collections.abc import Iterator

from hub.base.changecount import Version
from hub.base.log import get_logger
from hub.base.paths import RunDir
from hub.model.dra import Publication
from hub.model.plugin import RegistrationStatus
from hub.plugin.devices.resource import ResourceDevices
from hub.plugin.dra.component import Component
from hub.plugin.dra.healthstream import SERVICES as HEALTH_SERVICES
from hub.plugin.dra.healthstream import HealthStream
from hub.plugin.dra.preparation import Preparation
from hub.plugin.dra.publication import DraDevices
from hub.plugin.dra.records import ClaimRecords
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
    """

    def __init__(self, parts: ApiParts, driver: str, run_dir: RunDir, records: ClaimRecords) -> None:
        self._driver = driver
        self._inventory = parts.inventory
        self._ownership = parts.ownership
        self._status = parts.status
        self._tasks = parts.tasks
        self._log = get_logger(driver=driver)
        self._changed = Version()
        self._since = time.time()
        self._state = RegistrationStatus.WAITING
        self._component = Component(run_dir.dra_socket, driver)
        self._devices = DraDevices(parts.plugin, driver, parts.inventory)
        self._preparation = Preparation(
            parts,
            driver,
            devices=self._devices,
            component=self._component,
            records=records,
        )
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
            await _first_change(self._changed, self._inventory.version)
        self._dirs.remove_dead(self._driver)
        await self._server.bind()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tasks.run("publication of devices", self._publish))
                group.create_task(self._follow())
        finally:
            await asyncio.shield(self._server.close())

    async def hand_over(self) -> None:
        """Unregister, and finish the calls that are running: another hub's driver is called from now on."""
        await self._server.close()
        await self._servicer.finish()

    def check(self) -> None:
        """Notice another hub, and a kubelet that has gone."""
        self._changed.bump()

    def reregister(self) -> None:
        """Do nothing: a kubelet that starts finds the sockets by itself."""

    async def _follow(self) -> None:
        """Follow the registration, and serve again if a socket was removed."""
        while True:
            seen = self._changed.number
            self._update_state()
            if not self._server.is_reachable:
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
        # A kubelet keeps a stream open. Without any so far, it may not know the service.
        is_connected = self._health.open or not self._health.opened
        return RegistrationStatus.REGISTERED if registration.accepted and is_connected else RegistrationStatus.WAITING

    async def _publish(self) -> None:
        changed = Version()
        async with asyncio.TaskGroup() as group:
            group.create_task(_relay(self._changed, changed))
            group.create_task(_relay(self._inventory.version, changed))
            group.create_task(self._report_component())
            await self._component.keep_published(self._publication, changed)

    async def _report_component(self) -> None:
        while True:
            seen = self._component.changes.number
            self._status.mark_changed()
            await self._component.changes.wait_beyond(seen)

    def _publication(self) -> Publication | None:
        """Return what is to be published; None if a newer hub does that."""
        if self._ownership.role is not Role.ACTIVE:
            return None
        return self._devices.publication(registered=self._current_state() is RegistrationStatus.REGISTERED)

    def _pool(self) -> str:
        return self._component.state.pool

    def _served(self, resource: ResourceDevices) -> ResourceView:
        state = self._component.state
        problems = self._devices.problems(resource.name)
        return ResourceView(
            devices=resource,
            socket=self._socket.name,
            registration=self._state,
            since=self._since,
            registrations=self._registration.count,
            detail=self._registration.error,
            problems=(*problems, state.problem) if state.problem else problems,
            rejection=self._servicer.rejection,
        )


async def _first_change(*versions: Version) -> None:
    waits = [asyncio.ensure_future(version.wait_beyond(version.number)) for version in versions]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _relay(source: Version, target: Version) -> None:
    """Count each change of one counter in another, which then counts those of several."""
    while True:
        target.bump()
        await source.wait_beyond(source.number)
