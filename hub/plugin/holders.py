"""Which container uses which device, as the kubelet reports it."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from hub.base.changecount import ChangeCounter
from hub.base.statusfile import StatusFile
from hub.base.ticks import next_tick
from hub.kubelet.podresources import DeviceHolders, list_holders, pod_resources_socket
from hub.plugin.devices.inventory import Inventory
from hub.plugin.health.keys import physical_key
from hub.plugin.history import History

INTERVAL = 30.0
"""Seconds between requests while a container is using a device: nothing reports when the container releases it."""

SETTLE = 0.5
"""Seconds after an allocation within which the kubelet finishes the admission, and records it."""

EMPTY_ANSWERS = 2
"""Number of responses without a container after which there is no request until the next allocation. Each request costs
more CPU time than everything else that an idle plugin does, because gRPC's threads stay awake for a while."""


Claims = Callable[[], DeviceHolders]


class Holder(NamedTuple):
    """A container that uses a device, or may use it."""

    container: str
    removed: str = ""
    """A removed device that the container uses, and that may have been a share of this one; empty if the container
    certainly uses this one."""

    def describe(self, certain: str) -> str:
        """Return a sentence about the container, ending in these words if the container certainly uses the device."""
        if self.removed:
            return f"{self.container} may be using it: it is using {self.removed}, which was removed"
        return f"{self.container} {certain}"


class Holders:
    """Keeps the kubelet's last response, and remembers the devices that were removed while in use.

    Args:
        plugin_dir: The kubelet's plugin directory.
        inventory: The plugin's devices.
        status: Written when a response differs from the previous one.
        history: Keeps what the responses say, and the health of the devices in use.
        claims: Returns the devices that claims have, in the form of the kubelet's response, which has only those that
            pods got through the device plugin API.

    Attributes:
        socket: The socket of the kubelet's pod resources API.
        known: Whether the last request was answered.
        changes: Notified when a response differs from the previous one.
    """

    def __init__(
        self,
        plugin_dir: Path,
        inventory: Inventory,
        status: StatusFile,
        history: History,
        claims: Claims = dict,
    ) -> None:
        self.socket = pod_resources_socket(plugin_dir)
        self.known = False
        self.changes = ChangeCounter()
        self._inventory = inventory
        self._status = status
        self._history = history
        self._claims = claims
        self._containers: DeviceHolders = {}
        """The kubelet's last response."""
        self._requested = asyncio.Event()
        self._answer: DeviceHolders = {}
        """The devices on the whole node that are in use."""
        self._by_resource: Mapping[str, Mapping[str, str]] = {}
        """The same, by resource and then by device id."""
        self._holders: DeviceHolders = {}
        """Those that belonged to this plugin's resources at the time of the response."""
        self._keys: dict[tuple[str, str], str] = {}
        """The physical keys of the offered devices, and of removed ones that may still be in use."""

    async def run(self) -> None:
        """Query the kubelet repeatedly, as long as the response may change."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._remember_devices())
            empty = 0
            while True:
                await self.refresh()
                empty = empty + 1 if self.known and not self._holders else 0
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(_next_request(empty)):
                        await self._requested.wait()
                    await asyncio.sleep(SETTLE)
                    self._requested.clear()
                    empty = 0

    async def refresh(self) -> bool:
        """Query the kubelet now; return whether it answered."""
        answer = await list_holders(self.socket) if self.socket.exists() else None
        before = self._holders, self.known
        names = self._inventory.names
        self._containers = answer or {}
        self._answer = {**self._containers, **self._claims()}
        self._holders = {device: holder for device, holder in self._answer.items() if device[0] in names}
        self._by_resource = _by_resource(self._answer)
        self.known = answer is not None
        if self.known:
            offered = self._remember()
            self._keys = {device: key for device, key in self._keys.items() if device in self._answer} | offered
            for resource in self._inventory:
                resource.note_use(self.of(resource.name))
            self._history.update(self._answer)
        if before != (self._holders, self.known):
            self._status.mark_changed()
            self.changes.bump()
        return self.known

    def refresh_soon(self) -> None:
        """Query the kubelet soon: a container got devices, or there is a new resource."""
        self._requested.set()

    def of(self, resource: str) -> Mapping[str, str]:
        """Return the containers that use devices of a resource of the plugin, by device id, as of the last response."""
        # Not from `_holders`: the resource may have been added since the response.
        return self._by_resource.get(resource, {})

    @property
    def containers(self) -> DeviceHolders:
        """The devices of the node that containers got through the device plugin API, as of the last response."""
        return self._containers

    def of_device(self, key: str) -> list[Holder]:
        """Return the containers that use a physical device, or may use it, as of the last response.

        A container may use a device that was removed. If this process has seen the removed device, the process knows
        which physical device that was a share of; otherwise, the removed device may have been a share of any.
        """
        offered = self._remember()
        certain = [Holder(container) for device, container in self._answer.items() if self._keys.get(device) == key]
        is_whole = key in {" ".join(device) for device in offered}
        if certain or is_whole:
            return list(dict.fromkeys(certain))
        resources = {resource for resource, _ in self._keys}
        unknown = [device for device in self._answer if device[0] in resources and device not in self._keys]
        return list(dict.fromkeys(Holder(self._answer[device], device[1]) for device in unknown))

    async def _remember_devices(self) -> None:
        while True:
            version = self._inventory.changes.number
            self._remember()
            self._history.note_health()
            await self._inventory.changes.wait_beyond(version)

    def _remember(self) -> dict[tuple[str, str], str]:
        """Remember the offered devices, and return their physical keys."""
        offered = {
            (resource, device.id): physical_key(resource, device) for resource, device in self._inventory.all_devices()
        }
        self._keys |= offered
        return offered


def _by_resource(holders: DeviceHolders) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for (resource, name), holder in holders.items():
        found.setdefault(resource, {})[name] = holder
    return found


def _next_request(empty: int) -> float | None:
    """Return when the kubelet is queried again after this many responses without a container; None: only on request."""
    return next_tick(INTERVAL, asyncio.get_running_loop().time()) if empty < EMPTY_ANSWERS else None
