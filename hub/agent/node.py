"""The Node object of this node: its paths in the API, and its annotations, which a watch keeps up to date."""

import random
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from hub.agent.objects import Node, PartialObject, WatchError, WatchEvent
from hub.apiserver.client import METADATA_ONLY, ApiClient, Object
from hub.apiserver.errors import GONE, ApiError
from hub.base.changecount import ChangeCounter
from hub.base.printable import printable
from hub.base.untrusted import UnreadableError, decode_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_WATCH_SECONDS = (300.0, 600.0)
"""The shortest and the longest duration of a watch, as in the kubelet; each watch has its own."""

T = TypeVar("T")


class NodeObject:
    """The Node object.

    Args:
        client: Calls the API server.
        name: The node's name.
        changes: Notified when the object has changed.

    Attributes:
        annotations: The annotations; None until they are known.
    """

    def __init__(self, client: ApiClient, name: str, changes: ChangeCounter) -> None:
        self.annotations: Mapping[str, str] | None = None
        self.name = name
        self._client = client
        self._changes = changes
        self._uid = ""

    @property
    def path(self) -> str:
        """The path of the object in the API."""
        return f"/api/v1/nodes/{quote(self.name, safe='')}"

    async def reference(self) -> Object:
        """Return a reference to the object, for events.

        Raises:
            ApiError: the object cannot be read.
        """
        if not self._uid:
            self._learn(await self._client.get(self.path, PartialObject, METADATA_ONLY))
        return {"apiVersion": "v1", "kind": "Node", "name": self.name, "uid": self._uid}

    async def read(self) -> Node:
        """Return the whole object.

        Raises:
            ApiError: the object cannot be read.
        """
        return await self._client.get(self.path, Node)

    async def watch(self) -> None:
        """Follow the object until the server ends the watch.

        Raises:
            ApiError: the request failed; it can be retried.
        """
        seconds = random.uniform(*_WATCH_SECONDS)  # noqa: S311 - not a secret
        version = self._learn(await self._client.get(self.path, PartialObject, METADATA_ONLY))
        query = f"watch=true&fieldSelector=metadata.name%3D{quote(self.name, safe='')}"
        query += f"&resourceVersion={quote(version, safe='')}&timeoutSeconds={seconds:.0f}"
        watch = self._client.watch(f"/api/v1/nodes?{query}", WatchEvent, seconds, METADATA_ONLY)
        async with aclosing(watch) as events:
            async for event in events:
                if event.type == "ERROR":
                    error = _read(event, WatchError)
                    raise ApiError(error.code or GONE, printable(error.message) or "the watch ended")
                if event.type in ("ADDED", "MODIFIED"):
                    self._learn(_read(event, PartialObject))

    def _learn(self, found: PartialObject) -> str:
        """Adopt the content of the object; return its version."""
        self._uid = found.metadata.uid
        self.annotations = found.metadata.annotations or {}
        self._changes.bump()
        return found.metadata.resource_version


def _read(event: WatchEvent, kind: type[T]) -> T:
    """Return the object of an event.

    Raises:
        ApiError: it is something else.
    """
    try:
        return decode_json(bytes(event.object), kind, "event of a watch")
    except UnreadableError as error:
        raise ApiError(0, str(error)) from None
