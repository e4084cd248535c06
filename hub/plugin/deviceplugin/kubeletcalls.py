"""The kubelet's calls that allocate devices of one resource, and that can be kept waiting."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class KubeletCalls:
    """Calls to GetPreferredAllocation and Allocate.

    A kubelet admits one pod at a time. While it waits for the response to one of these calls, it does not make another,
    to any plugin.
    """

    def __init__(self) -> None:
        self._calls: set[object] = set()
        self._last_end = 0.0
        self._begun = asyncio.Event()
        self._may_be_answered = asyncio.Event()
        self._may_be_answered.set()

    def are_over(self, seconds: float) -> bool:
        """Return whether there has been no call for this many seconds."""
        return not self._calls and time.monotonic() - self._last_end >= seconds

    def expect_call(self) -> None:
        """Restart the wait of `are_over`: a call may have arrived while this process could not run."""
        self._last_end = time.monotonic()

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Answer a call in the block, which begins as soon as the call may be answered."""
        call = object()
        self._calls.add(call)
        self._begun.set()
        try:
            await self._may_be_answered.wait()
            yield
        finally:
            self._calls.remove(call)
            self._last_end = time.monotonic()

    @asynccontextmanager
    async def held(self, longest: float) -> AsyncIterator[bool]:
        """Keep the next call waiting, and begin the block when there is one, or after this many seconds without one.

        Yield whether all earlier calls have been answered.
        """
        earlier = set(self._calls)
        self._begun.clear()
        self._may_be_answered.clear()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(longest):
                    await self._begun.wait()
            yield not earlier & self._calls
        finally:
            self._may_be_answered.set()
