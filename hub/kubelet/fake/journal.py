"""What has come over the wire since the fake kubelet was made, and waking those who wait for the next change."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.kubelet.fake.model import ListUpdate, Registered


class Journal:
    """Everything that plugins did, over all starts of the kubelet."""

    def __init__(self) -> None:
        self.registrations: list[Registered] = []
        self.lists: list[ListUpdate] = []
        self._next_change = asyncio.Event()

    def changed(self) -> None:
        """Wake everybody who waits: something that a fake kubelet shows is not what it was."""
        self._next_change.set()
        self._next_change = asyncio.Event()

    async def changes(self) -> AsyncIterator[None]:
        """Yield at once, then after every change; a burst of changes may come as one."""
        while True:
            next_change = self._next_change
            yield
            await next_change.wait()
