"""The messages from plugins since the fake kubelet was created, and waiting for changes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.testing.kubelet.model import ListUpdate, Registered


class Journal:
    """All messages from plugins, across all starts of the kubelet."""

    def __init__(self) -> None:
        self.registrations: list[Registered] = []
        self.lists: list[ListUpdate] = []
        self._next_change = asyncio.Event()
        self._checks: set[Callable[[], None]] = set()

    def changed(self) -> None:
        """Wake all waiting tasks, because the state of the fake kubelet has changed."""
        for check in tuple(self._checks):
            check()
        self._next_change.set()
        self._next_change = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition is true. It is checked at once on every change: no short-lived state is missed.

        An exception that the condition raises is raised here.
        """
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def check() -> None:
            if reached.done():
                return
            try:
                if condition():
                    reached.set_result(None)
            except Exception as error:  # noqa: BLE001 - raised in the task that waits, not in the kubelet
                reached.set_exception(error)

        self._checks.add(check)
        try:
            check()
            await reached
        finally:
            self._checks.remove(check)

    async def changes(self) -> AsyncIterator[None]:
        """Yield immediately, and then after every change; several changes may count as one."""
        while True:
            next_change = self._next_change
            yield
            await next_change.wait()
