"""What has come over the wire since the fake kubelet was made, and waking those who wait for the next change."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.testing.kubelet.model import ListUpdate, Registered


class Journal:
    """Everything that plugins did, over all starts of the kubelet."""

    def __init__(self) -> None:
        self.registrations: list[Registered] = []
        self.lists: list[ListUpdate] = []
        self._next_change = asyncio.Event()
        self._looks: set[Callable[[], None]] = set()

    def changed(self) -> None:
        """Wake everybody who waits: something that a fake kubelet shows is not what it was."""
        for look in tuple(self._looks):
            look()
        self._next_change.set()
        self._next_change = asyncio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until the condition holds; each change is checked at once, so that no state is too short to be seen.

        What the condition raises is raised here.
        """
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def look() -> None:
            if held.done():
                return
            try:
                if holds():
                    held.set_result(None)
            except Exception as error:  # noqa: BLE001 - not of the kubelet, which calls this
                held.set_exception(error)

        self._looks.add(look)
        try:
            look()
            await held
        finally:
            self._looks.remove(look)

    async def changes(self) -> AsyncIterator[None]:
        """Yield at once, then after every change; a burst of changes may come as one."""
        while True:
            next_change = self._next_change
            yield
            await next_change.wait()
