"""What a resource advertises now, and who waits for it to change."""

import asyncio

from hub.plugin.deviceplugin.messages import Snapshot


class DeviceList:
    """The current snapshot of one resource and its version.

    Whoever remembers the version it has seen misses no change and is woken by none that it has seen, however many wait.
    """

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.version = 0
        self._outdated = asyncio.Event()

    def replace(self, snapshot: Snapshot) -> bool:
        """Take over a new snapshot; true, and a new version, where the kubelet would see a difference."""
        visible = not snapshot.same_for_kubelet(self.snapshot)
        self.snapshot = snapshot
        if visible:
            self.version += 1
            self._outdated.set()
            self._outdated = asyncio.Event()
        return visible

    async def wait_beyond(self, version: int) -> None:
        """Return as soon as there is a version other than this one."""
        while self.version == version:
            await self._outdated.wait()
