"""The messages from plugins since the fake kubelet was created, and waiting for changes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from hub.testing.kubelet.model import ListUpdate, Registered

KEPT_BYTES = 256 * 1024 * 1024
"""Maximum memory for the messages of each kind: a plugin may send them without pause."""


class _Message(Protocol):
    @property
    def memory(self) -> int:
        """Maximum number of bytes that it takes up in memory."""


_Kept = TypeVar("_Kept", bound=_Message)


class Latest(Generic[_Kept]):
    """The latest messages of one kind: the oldest are dropped when they take too much memory in total."""

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self._memory = 0

    def __iter__(self) -> Iterator[_Kept]:
        return iter(self._kept)

    def append(self, message: _Kept) -> None:
        """Add a message."""
        self._kept.append(message)
        self._memory += message.memory
        while self._memory > KEPT_BYTES:
            self._memory -= self._kept.popleft().memory


class Journal:
    """The latest messages from plugins, across all starts of the kubelet."""

    def __init__(self) -> None:
        self.registrations: Latest[Registered] = Latest()
        self.lists: Latest[ListUpdate] = Latest()
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
            except Exception as error:  # noqa: BLE001 - raised in the waiting task, not in the kubelet
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
