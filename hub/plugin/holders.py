"""Who holds which device, as far as the kubelet tells."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from hub.kubelet.podresources import DeviceHolders, list_holders, pod_resources_socket

INTERVAL = 30.0
"""Seconds between two questions while somebody holds a device: nobody tells when it is given back."""

SETTLE = 0.5
"""Seconds after an allocation in which the kubelet finishes the admission, and takes note of it."""

EMPTY_ANSWERS = 2
"""After so many answers that nobody holds anything, there is nothing to ask until the next allocation. Each question
costs more processor time than all else that an idle plugin does, for gRPC's threads stay awake for a while."""


class Holders:
    """Keeps asking the kubelet.

    Args:
        plugin_dir: The kubelet's plugin directory.
        resources: Tells the resources that count.
        changed: Called when an answer differs from the one before.
    """

    def __init__(self, plugin_dir: Path, resources: Callable[[], Collection[str]], changed: Callable[[], None]) -> None:
        self._socket = pod_resources_socket(plugin_dir)
        self._resources = resources
        self._changed = changed
        self._wanted = asyncio.Event()
        self._holders: DeviceHolders = {}
        self.known = False
        """Whether the kubelet has told."""

    async def run(self) -> None:
        """Ask for ever, as long as there may be something to hear."""
        empty = 0
        while True:
            await self.refresh()
            empty = empty + 1 if self.known and not self._holders else 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL if empty < EMPTY_ANSWERS else None):
                    await self._wanted.wait()
                await asyncio.sleep(SETTLE)
                self._wanted.clear()
                empty = 0

    async def refresh(self) -> DeviceHolders | None:
        """Who holds what just now; None where nobody can tell."""
        told = await list_holders(self._socket) if self._socket.exists() else None
        before = self._holders, self.known
        ours = self._resources()
        self._holders = {device: holder for device, holder in (told or {}).items() if device[0] in ours}
        self.known = told is not None
        if before != (self._holders, self.known):
            self._changed()
        return told

    def refresh_soon(self) -> None:
        """A container was given devices, or there is a resource whose holders were not asked for."""
        self._wanted.set()

    def of(self, resource: str) -> Mapping[str, str]:
        """Who holds the devices of a resource, by device id, as of the last answer."""
        return {name: holder for (held, name), holder in self._holders.items() if held == resource}
