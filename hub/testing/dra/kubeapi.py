"""What a kubelet reads about claims from the API server, and how it deletes slices."""

import asyncio
import json
import random
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse

from hub.testing.apiserver.kinds import Object
from hub.testing.dra.model import DraError, DraOptions

_GROUP = "/apis/resource.k8s.io/v1"
_OK, _NOT_FOUND = 200, 404
_FIRST_DELAY, _LONGEST_DELAY, _JITTER = 1.0, 300.0, 0.2
_TIMEOUT = 30.0
_MAX_CONNECTIONS = 100


class KubeApi:
    """Calls the API server as a kubelet does.

    Args:
        options: The kubelet's options.
    """

    def __init__(self, options: DraOptions) -> None:
        self._options = options
        self._client = AsyncHTTPClient(force_instance=True, max_clients=_MAX_CONNECTIONS)

    def close(self) -> None:
        """End all connections."""
        self._client.close()

    async def claim(self, name: str, namespace: str) -> Object:
        """Return a claim.

        Raises:
            DraError: the request failed.
        """
        path = f"{_GROUP}/namespaces/{namespace}/resourceclaims/{name}"
        try:
            response = await self._call("GET", path)
        except OSError as error:
            raise DraError(f'fetch ResourceClaim {name}: Get "{self._options.server}{path}": {error}') from None
        content: Object = json.loads(response.body or b"{}")
        if response.code != _OK:
            raise DraError(f"fetch ResourceClaim {name}: {content.get('message')}")
        return content

    async def delete_slices(self, driver: str) -> None:
        """Delete the slices of a driver on this node, or of all drivers, and retry until it succeeds."""
        selected = [f"spec.nodeName={self._options.node}", *([f"spec.driver={driver}"] if driver else [])]
        path = f"{_GROUP}/resourceslices?fieldSelector={quote(','.join(selected), safe='')}"
        delay = _FIRST_DELAY
        while not await self._has_deleted(path):
            await asyncio.sleep(delay * (1 + random.random() * _JITTER))  # noqa: S311 - not a secret
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _has_deleted(self, path: str) -> bool:
        try:
            node = await self._call("GET", f"/api/v1/nodes/{self._options.node}")
            return node.code == _OK and (await self._call("DELETE", path)).code in (_OK, _NOT_FOUND)
        except OSError:
            return False

    async def _call(self, method: str, path: str) -> HTTPResponse:
        """Send a request, and return the response, whatever its status.

        Raises:
            OSError: there is no response.
        """
        options: dict[str, Any] = {"raise_error": False, "request_timeout": _TIMEOUT}
        if self._options.authority:
            options["ca_certs"] = str(self._options.authority)
        headers = {"Authorization": f"Bearer {self._options.token}"}
        url = self._options.server + path
        try:
            return await self._client.fetch(url, method=method, headers=headers, **options)
        except HTTPClientError as error:
            # No response within the time, or none at all.
            raise OSError(str(error)) from None
