"""Devices that pods got through the device plugin API: tainted, and rejected for claims, until those pods terminate.

The kubelet does not know that both APIs allocate the same devices. So a plugin that changes from one to the other has
to find out which containers use which devices.
"""

from collections.abc import Iterator, Mapping

from hub.base.changecount import ChangeCounter, next_change
from hub.kubelet.checkpoint import Checkpoint
from hub.plugin.kubeletapi import ApiParts

_BY = "the device plugin API"


class HeldDevices:
    """Keeps track of the devices that claims must not get, and updates their health.

    Args:
        parts: The parts of the process.
        changed: Notified when another hub may have started or stopped serving.
    """

    def __init__(self, parts: ApiParts, changed: ChangeCounter) -> None:
        self._inventory = parts.inventory
        self._holders = parts.holders
        self._health = parts.health
        self._ownership = parts.ownership
        self._checkpoint = Checkpoint(parts.plugin_dir)
        self._changed = changed
        self._used: Mapping[tuple[str, str], str] = {}
        self._offered: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Keep the health of these devices up to date, until cancelled."""
        counters = self._changed, self._holders.changes, self._inventory.changes
        while True:
            seen = [each.number for each in counters]
            if self._offered - self._offered_now():
                # The other hub has stopped offering resources: find out which of their devices it has allocated.
                await self._holders.refresh()
            self._update()
            await next_change(zip(counters, seen, strict=True))

    async def refresh(self) -> None:
        """Query the kubelet for the containers that use devices, and bring everything up to date."""
        await self._holders.refresh()
        self._update()
        self._inventory.publish()

    def _update(self) -> None:
        self._offered = self._offered_now()
        if self._holders.known:
            self._used = dict(self._by_containers())
        else:
            # A kubelet that is starting does not answer yet; what it reported before is still true.
            self._used = {**dict(self._by_checkpoint()), **self._used}
        self._health.set_held(_BY, {**dict(self._by_hubs()), **self._used})

    def _offered_now(self) -> frozenset[str]:
        """Return the resources that another hub offers through the device plugin API."""
        return frozenset(name for name in self._inventory.names if self._ownership.neighbors_of(name))

    def _by_hubs(self) -> Iterator[tuple[tuple[str, str], str]]:
        for resource, device in self._inventory.all_devices():
            if resource in self._offered:
                yield (resource, device.id), f"another hub still offers it through {_BY}"

    def _by_containers(self) -> Iterator[tuple[tuple[str, str], str]]:
        names = self._inventory.names
        for key, container in self._holders.containers.items():
            if key[0] in names:
                yield key, f"used by {container}, which got it through {_BY}"

    def _by_checkpoint(self) -> Iterator[tuple[tuple[str, str], str]]:
        for resource in self._inventory.names:
            for name in self._checkpoint.held(resource) or ():
                reason = f"used by a container that got it through {_BY}, according to the kubelet's checkpoint"
                yield (resource, name), reason
