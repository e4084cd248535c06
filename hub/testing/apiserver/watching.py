"""The watches of the fake API server."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from hub.testing.apiserver.errors import RequestError, expired
from hub.testing.apiserver.kinds import Object, Target
from hub.testing.apiserver.resources import selector
from hub.testing.apiserver.store import Selector, Store

_LONGEST = 1800.0
"""Seconds after which a server ends a watch that has no limit of its own."""


class Watches:
    """Reports changes to the watches that are open.

    Args:
        store: The objects.
        bookmark_interval: Seconds between bookmarks.
    """

    def __init__(self, store: Store, bookmark_interval: float) -> None:
        self._store = store
        self._bookmark_interval = bookmark_interval
        self._ended = asyncio.Event()
        self._expired = asyncio.Event()
        self.open = 0
        """The number of open watches."""

    def end(self) -> None:
        """End all watches without an error, as a server does after some time."""
        self._ended.set()
        self._ended = asyncio.Event()

    def expire(self) -> None:
        """Forget all changes, and end all watches with the error 410."""
        self._store.forget_changes()
        self._expired.set()
        self._expired = asyncio.Event()

    async def events(self, target: Target, query: Mapping[str, str]) -> AsyncGenerator[Object, None]:
        """Yield the events of a watch until it ends.

        Raises:
            RequestError: its field selector is not supported.
        """
        selects = selector(target, query)
        since = int(query.get("resourceVersion") or 0)
        self.open += 1
        try:
            if since == 0:
                since = self._store.version
                for each in self._store.list(target.kind, target.namespace, selects):
                    yield {"type": "ADDED", "object": each}
            async for event in self._after(since, target, query, selects):
                yield event
        except RequestError as error:
            yield {"type": "ERROR", "object": error.status}
        finally:
            self.open -= 1

    async def _after(
        self, since: int, target: Target, query: Mapping[str, str], selects: Selector
    ) -> AsyncIterator[Object]:
        """Yield the events after a version.

        Raises:
            RequestError: the server no longer has them.
        """
        end = asyncio.get_running_loop().time() + float(query.get("timeoutSeconds") or _LONGEST)
        ended, expiry = self._ended, self._expired
        while not ended.is_set():
            if expiry.is_set():
                raise expired(since, self._store.oldest)
            changed, version = self._store.next_change(), self._store.version
            for change in self._store.changes(target.kind, since):
                if event := change.event(selects):
                    yield event
            # Even without a change to objects of this kind; otherwise the watch would become too old.
            since = version
            if not await self._wait(end, changed, ended, expiry):
                if asyncio.get_running_loop().time() >= end:
                    return
                if query.get("allowWatchBookmarks") in ("true", "1"):
                    yield self._bookmark(target, since)

    async def _wait(self, end: float, *events: asyncio.Event) -> bool:
        """Wait until an event is set; return False if a bookmark or the end of the watch is due before that."""
        seconds = min(self._bookmark_interval, end - asyncio.get_running_loop().time())
        waiting = [asyncio.ensure_future(each.wait()) for each in events]
        try:
            done, _ = await asyncio.wait(waiting, timeout=max(0, seconds), return_when=asyncio.FIRST_COMPLETED)
            return bool(done)
        finally:
            for each in waiting:
                each.cancel()

    def _bookmark(self, target: Target, version: int) -> Object:
        kind = target.kind
        metadata = {"resourceVersion": str(version)}
        return {
            "type": "BOOKMARK",
            "object": {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata},
        }
