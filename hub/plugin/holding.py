"""Who holds which device, as far as the kubelet tells."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from hub.kubelet.holders import Holders, ask_holders, pod_resources_socket

INTERVAL = 10.0
"""Seconds between two questions: nobody tells when a device is given back."""

SETTLE = 0.5
"""Seconds after an allocation in which the kubelet finishes the admission, and takes note of it."""


class Holding:
    """Keeps asking the kubelet.

    Args:
        plugin_dir: The kubelet's plugin directory.
        changed: Called when an answer differs from the one before.
    """

    def __init__(self, plugin_dir: Path, changed: Callable[[], None]) -> None:
        self._socket = pod_resources_socket(plugin_dir)
        self._changed = changed
        self._allocated = asyncio.Event()
        self._holders: Holders = {}
        self.known = True
        """Whether the kubelet has told; while there is none it need not."""

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            await self.ask()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._allocated.wait()
                await asyncio.sleep(SETTLE)
                self._allocated.clear()

    async def ask(self) -> Holders | None:
        """Who holds what just now; None where nobody can tell."""
        holders = await ask_holders(self._socket) if self._socket.exists() else None
        before = self._holders, self.known
        self._holders, self.known = holders or {}, holders is not None
        if before != (self._holders, self.known):
            self._changed()
        return holders

    def allocated(self) -> None:
        """A container was given devices: ask soon."""
        self._allocated.set()

    def of(self, resource: str) -> Mapping[str, str]:
        """Who holds the devices of a resource, by device id, as of the last answer."""
        return {name: holder for (held, name), holder in self._holders.items() if held == resource}
