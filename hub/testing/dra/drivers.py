"""The drivers that are registered with a kubelet: which instance it calls, and when their slices are deleted."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc.aio

from hub.testing.dra.connection import HEALTH_SERVICES, DriverConnection, chosen_service
from hub.testing.dra.health import HealthCache
from hub.testing.dra.kubeapi import KubeApi
from hub.testing.dra.model import DraError, DraOptions


class Drivers:
    """The connections by driver, in registration order.

    Args:
        options: The kubelet's options.
        api: Calls the API server.
        health: Receives the drivers' reports.
        changed: Called after each change.
    """

    def __init__(self, options: DraOptions, api: KubeApi, health: HealthCache, changed: Callable[[], None]) -> None:
        self._options = options
        self._api = api
        self._health = health
        self._changed = changed
        self._connections: dict[str, list[DriverConnection]] = {}
        self._tasks: dict[DriverConnection, list[asyncio.Task[None]]] = {}
        # A completed wipe stays here until the driver is back, so that it is not repeated.
        self._wipes: dict[str, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self) -> None:
        """Delete the slices of all drivers: none is registered yet."""
        self._spawn(self._api.delete_slices(""))

    async def close(self) -> None:
        """Close all connections, and leave the files as they are."""
        self._closed = True
        ended = [*self._background, *self._wipes.values(), *(task for found in self._tasks.values() for task in found)]
        for task in ended:
            task.cancel()
        results = await asyncio.gather(*ended, return_exceptions=True)
        for connection in self._tasks:
            await connection.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def get(self, driver: str) -> DriverConnection:
        """Return the instance that the kubelet calls: the latest connected one, or the latest if none is connected.

        Raises:
            DraError: none is registered.
        """
        found = self._connections.get(driver)
        if not found:
            raise DraError(f"DRA driver {driver} is not registered")
        return next((each for each in reversed(found) if each.connected), found[-1])

    def instances(self) -> dict[str, list[tuple[str, bool]]]:
        """Return the endpoints of each driver's instances, and whether they are connected."""
        return {name: [(each.endpoint, each.connected) for each in found] for name, found in self._connections.items()}

    def add(self, driver: str, endpoint: str, versions: list[str]) -> None:
        """Add an instance.

        Raises:
            DraError: its endpoint is registered already, or it has no service that a kubelet can call.
        """
        chosen_service(driver, endpoint, versions)
        found = self._connections.setdefault(driver, [])
        if endpoint in (each.endpoint for each in found):
            raise DraError(f"endpoint {endpoint} already registered for DRA driver plugin {driver}")
        connection = DriverConnection(driver, endpoint, versions, self._options.call_timeout)
        found.append(connection)
        tasks = [asyncio.create_task(connection.follow(lambda: self._sync(driver)))]
        if package := self._health_package(versions):
            tasks.append(asyncio.create_task(self._watch_health(connection, package)))
        self._tasks[connection] = tasks
        self._sync(driver)

    def remove(self, driver: str, endpoint: str) -> None:
        """Remove an instance, if it is there."""
        found = self._connections.get(driver, [])
        connection = next((each for each in found if each.endpoint == endpoint), None)
        if connection is None:
            return
        found.remove(connection)
        if not found:
            del self._connections[driver]
        self._spawn(self._end(connection, self._tasks.pop(connection)))
        self._sync(driver)

    async def _end(self, connection: DriverConnection, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await connection.close()

    def _sync(self, driver: str) -> None:
        """Begin or cancel the deletion of a driver's slices, depending on whether it is connected."""
        usable = any(each.connected for each in self._connections.get(driver, ()))
        if usable and driver in self._wipes:
            self._wipes.pop(driver).cancel()
        elif not usable and driver not in self._wipes:
            self._wipes[driver] = asyncio.create_task(self._wipe(driver))
        self._changed()

    async def _wipe(self, driver: str) -> None:
        await asyncio.sleep(self._options.wiping_delay)
        await self._api.delete_slices(driver)

    def _health_package(self, versions: list[str]) -> str:
        """Return the package of the health service to call; up to 1.36 always v1alpha1, even if it is not offered."""
        if self._options.version < "1.37":
            return "v1alpha1"
        return next((package for name, package in HEALTH_SERVICES.items() if name in versions), "")

    async def _watch_health(self, connection: DriverConnection, package: str) -> None:
        """Receive a driver's reports, and open the stream again when it ends.

        The end of a stream removes what is known about all the driver's devices, even what other instances reported.
        """
        while True:
            try:
                async for response in connection.health(package):
                    self._health.update(connection.driver, response.devices)
                    self._changed()
            except grpc.aio.AioRpcError as error:
                if self._options.version >= "1.37" and error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return
            finally:
                if not self._closed:
                    self._health.clear(connection.driver)
                    self._changed()
            await asyncio.sleep(self._options.health_retry)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # A failed task is kept, so that close() can raise its exception.
        if task.cancelled() or task.exception() is None:
            self._background.discard(task)
