"""A client of an API server in memory."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hub.apiserver.errors import ApiError
from tests.simulators.drastore import DraStore, Object


class MemoryClient:
    """A stand-in for ApiClient, with a store instead of a server.

    Args:
        store: The objects.

    Attributes:
        errors: The errors of the next requests.
        node_uid: The uid of the node.
    """

    def __init__(self, store: DraStore) -> None:
        self.errors: list[ApiError] = []
        self.node_uid = "uid-of-node-1"
        self._store = store

    async def get(self, path: str, _kind: type[Object], _accept: str = "") -> Object:
        """Read an object."""
        if path.startswith("/api/v1/nodes/"):
            return {"metadata": {"uid": self.node_uid}}
        return await self._request("GET", path)

    async def create(self, path: str, content: Object, _kind: type[Object]) -> Object:
        """Create an object."""
        return await self._request("POST", path, content)

    async def replace(self, path: str, content: Object, _kind: type[Object]) -> Object:
        """Replace an object."""
        return await self._request("PUT", path, content)

    async def delete(self, path: str, options: Object) -> None:
        """Delete an object."""
        await self._request("DELETE", path, options)

    async def watch(
        self, path: str, _kind: type[Object], _seconds: float, _accept: str = ""
    ) -> AsyncGenerator[Object, None]:
        """Yield the changes after a version."""
        async for event in self._store.watch(parse_qs(urlsplit(path).query)["resourceVersion"][0]):
            yield event

    async def _request(self, method: str, path: str, body: Any = None) -> Object:  # noqa: ANN401 - JSON
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        code, answer = self._store.request(method, urlsplit(path).path, body)
        if code >= 400:
            raise ApiError(code, answer["message"])
        return answer
