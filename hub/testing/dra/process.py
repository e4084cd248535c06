"""One run of the DRA side of a kubelet, from start to stop."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from hub.testing.dra.claims import STATE_FILE, ClaimCache
from hub.testing.dra.drivers import Drivers
from hub.testing.dra.health import HealthCache
from hub.testing.dra.kubeapi import KubeApi
from hub.testing.dra.manager import ClaimManager
from hub.testing.dra.model import ClaimPod, ClaimUse, DeviceHealth, DraOptions, DriverRegistration
from hub.testing.dra.registering import Registrar
from hub.testing.dra.registry import PluginRegistry
from hub.testing.kubelet.model import DynamicResource

REGISTRY = "plugins_registry"
_HEALTH_FILE = "dra_health_state"


class DraProcess:
    """What a crash ends: the state in memory, and all connections.

    Args:
        root: The kubelet's root directory.
        options: Its options.
        pods: The pods on the node, by UID.
        number: Which start of the kubelet this is, counting from 1.
        noted: Receives each attempt to register a driver.
        changed: Called after each change.

    Raises:
        ConfigError: the file with the claims is not a checkpoint.
    """

    def __init__(
        self,
        root: Path,
        options: DraOptions,
        pods: Mapping[str, ClaimPod],
        *,
        number: int,
        noted: Callable[[DriverRegistration], None],
        changed: Callable[[], None],
    ) -> None:
        self._options = options
        self._pods = pods
        self._api = KubeApi(options)
        self._health = HealthCache(root / _HEALTH_FILE, removes=options.version >= "1.37")
        self._drivers = Drivers(options, self._api, self._health, changed)
        claims = ClaimCache(root / STATE_FILE)
        self._manager = ClaimManager(claims, self._drivers, self._api, options.version, changed)
        registrar = Registrar(options, self._drivers, noted, number)
        self._registry = PluginRegistry(root / REGISTRY, options, self._drivers, registrar, changed)
        self._reconciling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start: delete the node's slices in the background, and look for drivers."""
        self._drivers.start()
        self._registry.start()
        self._reconciling = asyncio.create_task(self._reconcile())

    async def stop(self) -> None:
        """End all connections; no driver is notified, and no claim is unprepared."""
        if self._reconciling:
            self._reconciling.cancel()
            await asyncio.wait([self._reconciling])
        await self._registry.close()
        await self._drivers.close()
        self._api.close()

    async def prepare(self, pod: ClaimPod) -> None:
        """Prepare the claims of a pod, once.

        Raises:
            DraError: the call failed.
        """
        await self._manager.prepare(pod)

    async def unprepare(self, pod: ClaimPod) -> None:
        """Unprepare the claims of a pod, once.

        Raises:
            DraError: the call failed.
        """
        await self._manager.unprepare(pod)

    async def forget(self, pod: ClaimPod) -> None:
        """Do nothing for a pod that was deleted by force: the next check finds its claims."""

    async def cdi_devices(self, pod: ClaimPod, container: str) -> list[str]:
        """Return the CDI names that a container gets.

        Raises:
            DraError: a claim of the pod is not known.
        """
        return self._manager.cdi_devices(pod, container)

    async def health(self, pod: ClaimPod) -> dict[str, dict[str, list[DeviceHealth]]]:
        """Return the health in the status of a pod: by container and by `claim:NAME` or `claim:NAME/REQUEST`."""
        return {name: self._container_health(pod, uses) for name, uses in pod.containers.items()}

    def instances(self) -> dict[str, list[tuple[str, bool]]]:
        """Return the endpoints of each driver's instances, and whether each is connected."""
        return self._drivers.instances()

    async def devices(self, pod: ClaimPod, container: str) -> list[DynamicResource]:
        """Return the devices of a container, as the pod resources API shows them."""
        return [
            DynamicResource(
                claim.state.claim_name,
                claim.state.namespace,
                driver,
                device.pool_name,
                device.device_name,
                tuple(device.cdi_device_ids or ()),
            )
            for claim, driver, device in self._manager.devices(pod, container)
        ]

    def _container_health(self, pod: ClaimPod, uses: Collection[ClaimUse]) -> dict[str, list[DeviceHealth]]:
        found: dict[str, dict[str, DeviceHealth]] = {}
        for use in uses:
            alone = ClaimPod(pod.name, pod.uid, pod.claims, {"": [use]}, pod.namespace)
            devices = found.setdefault(f"claim:{use.name}/{use.request}" if use.request else f"claim:{use.name}", {})
            for _, driver, device in self._manager.devices(alone, ""):
                known = self._health.get(driver, device.pool_name, device.device_name)
                own = f"{driver}/{device.pool_name}/{device.device_name}"
                name = next(iter(device.cdi_device_ids or ()), own)
                devices.setdefault(name, DeviceHealth(name, known.health, known.message))
        return {name: list(devices.values()) for name, devices in found.items() if devices}

    async def _reconcile(self) -> None:
        while True:
            await self._manager.reconcile(set(self._pods))
            await asyncio.sleep(self._options.reconcile_period)
