"""One resource of a plugin: what it advertises, where it is served, and how it stands with the kubelet."""

from collections.abc import Callable
from pathlib import Path

from hub.log import get_logger
from hub.paths import KUBELET_SOCKET
from hub.plugin.contract import Plugin
from hub.plugin.endpoint import Endpoint, socket_name
from hub.plugin.inventory import Inventory
from hub.plugin.registration import Registrar
from hub.plugin.service import DevicePluginService
from hub.plugin.snapshot import Snapshot
from hub.state import DeviceState, ResourceState


class Resource:
    """Ties together inventory, service, endpoint and registration of one resource.

    Args:
        plugin: Whose resource it is.
        name: A valid resource name.
        instance: The hub that the socket belongs to.
        plugin_dir: The kubelet's plugin directory.
        changed: Called when `state` has changed.
    """

    def __init__(self, plugin: Plugin, name: str, instance: str, plugin_dir: Path, changed: Callable[[], None]) -> None:
        self.name = name
        self._changed = changed
        self._inventory = Inventory()
        service = DevicePluginService(plugin, name, self._inventory)
        self._endpoint = Endpoint(plugin_dir / socket_name(name, instance, plugin_dir), service, self._check)
        self._registrar = Registrar(name, self._endpoint, plugin_dir / KUBELET_SOCKET, service.options, changed)
        self._log = get_logger(resource=name)

    async def run(self) -> None:
        """Serve and stay registered until cancelled, then end the streams and remove the socket."""
        try:
            await self._registrar.run()
        finally:
            await self._endpoint.close()

    def advertise(self, snapshot: Snapshot) -> None:
        """Offer these devices from now on."""
        before = self._inventory.snapshot
        if self._inventory.replace(snapshot):
            healthy = sum(not device.unhealthy for device in snapshot.devices.values())
            self._log.info("devices", total=len(snapshot.devices), healthy=healthy, **self._excuse(snapshot))
            self._log_health(before, snapshot)
        for problem in snapshot.problems:
            if problem not in before.problems:
                self._log.error("device left out", reason=problem)
        if (before.devices, before.reason, before.problems) != (snapshot.devices, snapshot.reason, snapshot.problems):
            self._changed()

    def distrust(self, reason: str) -> None:
        """Go on with the same devices, none of them healthy."""
        self.advertise(self._inventory.snapshot.distrusted(reason))

    def check(self) -> None:
        """Look whether the registration still stands."""
        self._registrar.check()

    def hurry(self) -> None:
        """Make sure of the registration now."""
        self._registrar.hurry()

    def state(self) -> ResourceState:
        """The resource as others see it."""
        snapshot, registrar = self._inventory.snapshot, self._registrar
        return ResourceState(
            name=self.name,
            socket=self._endpoint.path.name,
            registration=registrar.state,
            since=registrar.since,
            registrations=registrar.registrations,
            detail=registrar.detail,
            reason=snapshot.reason,
            problems=snapshot.problems,
            devices=tuple(
                DeviceState(device.id, not device.unhealthy, device.unhealthy, tuple(device.numa))
                for device in snapshot.devices.values()
            ),
        )

    def _check(self) -> None:
        self._registrar.check()

    def _excuse(self, snapshot: Snapshot) -> dict[str, str]:
        return {"reason": snapshot.reason} if snapshot.reason else {}

    def _log_health(self, before: Snapshot, after: Snapshot) -> None:
        for name, device in after.devices.items():
            known = before.devices.get(name)
            if device.unhealthy and (known is None or known.unhealthy != device.unhealthy):
                self._log.warning("device unhealthy", device=name, reason=device.unhealthy)
            elif known is not None and known.unhealthy and not device.unhealthy:
                self._log.info("device healthy again", device=name, was=known.unhealthy)
