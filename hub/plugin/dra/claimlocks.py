"""A lock for each claim that a call is about."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ClaimLocks:
    """Runs calls for one claim one after the other, and those for different claims in parallel."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()

    def __contains__(self, uid: str) -> bool:
        return uid in self._locks

    @asynccontextmanager
    async def of(self, uid: str) -> AsyncIterator[None]:
        """Hold the lock of a claim until the block ends."""
        lock = self._locks.setdefault(uid, asyncio.Lock())
        self._users[uid] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[uid] -= 1
            if not self._users[uid]:
                del self._users[uid], self._locks[uid]
