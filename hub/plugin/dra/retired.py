"""Drivers that a plugin no longer uses, because its `api` or its `driver` was changed.

Their slices are deleted, and the devices of their claims are protected: no other API allocates them. While there are
claims for them, their sockets stay open, since the kubelet cannot terminate a pod without the driver for its claims.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress

from hub.base.changecount import ChangeCounter, next_change
from hub.base.log import get_logger
from hub.base.paths import RunDir
from hub.base.tasks import Tasks
from hub.plugin.dra.api import DraApi
from hub.plugin.dra.records import ClaimRecords
from hub.plugin.kubeletapi import ApiParts, KubeletApi, ResourceView
from hub.plugin.ownership import Role

WITHDRAW_SECONDS = 30.0
"""Maximum seconds for the DRA process to delete the slices of a driver without claims. Without that process, the
kubelet deletes them, 30 seconds after the driver has disappeared."""


class RetiredDriver:
    """Serves a driver until its last claim is released and its slices are deleted.

    Args:
        parts: The parts of the process.
        driver: The driver's name.
        run_dir: The run directory, and the hub to which the process belongs.
        records: What was prepared for claims.

    Attributes:
        driver: The driver's name.
    """

    def __init__(self, parts: ApiParts, driver: str, run_dir: RunDir, records: ClaimRecords) -> None:
        self.driver = driver
        self._health = parts.health
        self._ownership = parts.ownership
        self._inventory = parts.inventory
        self._records = records
        self._api = DraApi(parts, driver, run_dir, records, retired=True)
        self._changed = ChangeCounter()
        self._is_over = False
        self._log = get_logger(driver=driver)
        self._protect()

    @property
    def problems(self) -> tuple[str, ...]:
        """What prevents the deletion of the slices."""
        problem = self._api.component.state.problem
        if self._is_over or not problem:
            return ()
        return (f"the slices of the DRA driver {self.driver}, which is no longer used, cannot be deleted: {problem}",)

    async def run(self) -> None:
        """Serve for as long as the driver is needed."""
        while self._ownership.role is Role.STANDBY:
            counters = self._changed, self._inventory.changes
            await next_change((each, each.number) for each in counters)
        if self._is_needed():
            self._log.info("retired driver served", claims=len(self._records.active_of(self.driver)))
            await self._while(self._is_needed, self._api.run())
        with suppress(TimeoutError):
            async with asyncio.timeout(WITHDRAW_SECONDS):
                await self._while(lambda: not self._api.component.state.published, self._api.publish())
        self._is_over = True
        if self._ownership.role is Role.ACTIVE:
            # Otherwise the decision is left to another hub's plugin, which may still use the driver.
            self._records.end(self.driver)
        self._log.info("retired driver removed")
        await asyncio.Event().wait()

    async def hand_over(self) -> None:
        """Let another hub's driver release the claims."""
        await self._api.hand_over()

    def check(self) -> None:
        """Look again at the claims, which another hub's process may have released."""
        self._api.check()
        self._changed.bump()

    async def _while(self, holds: Callable[[], bool], work: Coroutine[None, None, None]) -> None:
        """Run a coroutine while a condition holds."""
        counters = self._changed, self._api.claims, self._api.component.changes
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            while True:
                seen = [(each, each.number) for each in counters]
                if not holds():
                    break
                await next_change(seen)
            task.cancel()

    def _is_needed(self) -> bool:
        """Return whether there are claims, or an older hub that may still prepare some."""
        return bool(self._protect() or self._ownership.older)

    def _protect(self) -> int:
        """Keep other APIs from allocating the devices of claims; return the number of claims."""
        claims = self._records.active_of(self.driver)
        self._health.set_held(
            f"claims of {self.driver}",
            {(each.resource, each.id): record.use for record in claims for each in record.devices},
        )
        return len(claims)


class WithRetired:
    """The API through which a plugin is served, and the drivers that the plugin no longer uses.

    Args:
        api: The API.
        drivers: The drivers.
        tasks: Runs the drivers.
    """

    def __init__(self, api: KubeletApi, drivers: Sequence[RetiredDriver], tasks: Tasks) -> None:
        self._api = api
        self._drivers = drivers
        self._tasks = tasks

    def __iter__(self) -> Iterator[ResourceView]:
        problems = tuple(problem for driver in self._drivers for problem in driver.problems)
        for view in self._api:
            yield view._replace(problems=(*view.problems, *problems))
            problems = ()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._api.run())
            for driver in self._drivers:
                group.create_task(self._tasks.run(f"retired driver {driver.driver}", driver.run))

    async def hand_over(self) -> None:
        """Let other hubs serve, before this process exits."""
        await asyncio.gather(self._api.hand_over(), *(driver.hand_over() for driver in self._drivers))

    def check(self) -> None:
        """Have each registration verified."""
        self._api.check()
        for driver in self._drivers:
            driver.check()

    def reregister(self) -> None:
        """Verify each registration now; the kubelet finds drivers on its own."""
        self._api.reregister()


def serve_drivers(
    parts: ApiParts,
    main: KubeletApi | None,
    driver: str,
    *,
    evict: bool,
    retired: Sequence[str],
    run_dir: RunDir,
    records: ClaimRecords,
) -> KubeletApi:
    """Return the API through which a plugin is served, together with its retired drivers.

    Args:
        parts: The parts of the process.
        main: The API through which it is served; None if the driver serves it.
        driver: The driver that serves it; empty if none does.
        evict: Whether pods are evicted from devices that fail.
        retired: The drivers that are no longer used.
        run_dir: The run directory, and the hub to which the process belongs.
        records: What was prepared for claims.
    """
    api = main or DraApi(parts, driver, run_dir, records, evict=evict)
    drivers = [RetiredDriver(parts, name, run_dir, records) for name in retired]
    return WithRetired(api, drivers, parts.tasks) if drivers else api
