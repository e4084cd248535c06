"""The ResourceSlices of one driver on this node, as the API server has them: a list, and then a watch."""

import random
from contextlib import aclosing
from urllib.parse import quote

from hub.apiserver.client import ApiClient, Object
from hub.apiserver.errors import GONE, NOT_FOUND, ApiError
from hub.base.changecount import ChangeCounter
from hub.dra.pool import SLICES

PAGE = 10
"""Maximum number of slices in one response. An object is at most 1.5 MiB, etcd's limit, so they fit in the largest
response that is read; the slices of 16,384 devices with all attributes do not."""

MAX_PAGES = 100
"""Maximum number of pages of a list."""

_WATCH_SECONDS = (300.0, 600.0)
"""The shortest and the longest duration of a watch, as in the kubelet."""


class Slices:
    """The slices of one driver on this node.

    Args:
        client: Calls the API server.
        driver: The driver's name.
        node: The node's name.
        changes: Notified when another process has changed a slice.

    Attributes:
        found: The slices by name; None until they are known.
        generation: The latest generation seen, including those of slices that were deleted.
    """

    def __init__(self, client: ApiClient, driver: str, node: str, changes: ChangeCounter) -> None:
        self.found: dict[str, Object] | None = None
        self.generation = 1
        self._client = client
        self._changes = changes
        selector = quote(f"spec.nodeName={node},spec.driver={driver}", safe="")
        self._query = f"{SLICES}?fieldSelector={selector}"

    async def follow(self) -> None:
        """List the slices, and follow them until the server ends the watch.

        Raises:
            ApiError: the request failed; it can be retried.
        """
        version = await self.relist()
        self._changes.bump()
        while version:
            version = await self._watch(version)

    async def relist(self) -> str:
        """Read all slices again; return their version.

        Raises:
            ApiError: the request failed; it can be retried.
        """
        items: list[Object] = []
        more = ""
        for _ in range(MAX_PAGES):
            answer = await self._client.get(f"{self._query}&limit={PAGE}{more}", Object)
            items += answer.get("items") or ()
            metadata = answer.get("metadata", {})
            if not (token := metadata.get("continue")):
                break
            more = f"&continue={quote(token, safe='')}"
        else:
            raise ApiError(0, f"the API server's list of slices has more than {MAX_PAGES} pages")
        # All at once: what has to be written depends on all slices. An event may have arrived between two pages.
        known, self.found = self.found or {}, {}
        for each in items:
            self.learn(_latest(each, known.get(each["metadata"]["name"])))
        return str(metadata.get("resourceVersion", ""))

    async def write(self, content: Object, *, exists: bool) -> Object:
        """Create or replace a slice, and return the API server's response.

        Raises:
            ApiError: the request failed; it can be retried.
        """
        if exists:
            answer = await self._client.replace(_path(content), content, Object)
        else:
            answer = await self._client.create(SLICES, content, Object)
        self.learn(answer)
        return answer

    async def delete(self, content: Object) -> None:
        """Delete a slice, unless it has been changed or replaced.

        Raises:
            ApiError: the request failed; it can be retried.
        """
        metadata = content["metadata"]
        conditions = {name: metadata[name] for name in ("uid", "resourceVersion") if metadata.get(name)}
        try:
            await self._client.delete(_path(content), {"preconditions": conditions})
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
        if self.found is not None:
            self.found.pop(metadata["name"], None)

    def learn(self, content: Object) -> None:
        """Record a slice as the API server has it now."""
        if self.found is not None:
            self.found[content["metadata"]["name"]] = content
        generation = content["spec"].get("pool", {}).get("generation", 0)
        self.generation = max(self.generation, int(generation))

    async def _watch(self, version: str) -> str:
        """Follow the slices; return the version to continue from, or an empty one if they have to be listed again."""
        seconds = random.uniform(*_WATCH_SECONDS)  # noqa: S311 - not a secret
        query = f"&watch=1&allowWatchBookmarks=true&resourceVersion={quote(version, safe='')}"
        path = f"{self._query}{query}&timeoutSeconds={seconds:.0f}"
        try:
            async with aclosing(self._client.watch(path, Object, seconds)) as events:
                async for event in events:
                    found = event.get("object", {})
                    _require_no_error(event)
                    version = str(found["metadata"].get("resourceVersion", version))
                    self._see(str(event.get("type")), found)
        except ApiError as error:
            if error.status == GONE:
                return ""
            raise
        return version

    def _see(self, kind: str, content: Object) -> None:
        name = content["metadata"].get("name", "")
        if self.found is None or kind not in ("ADDED", "MODIFIED", "DELETED"):
            return
        if kind == "DELETED":
            if self.found.pop(name, None):
                self._changes.bump()
        elif self._is_newer(content, self.found.get(name)):
            self.learn(content)
            self._changes.bump()

    @staticmethod
    def _is_newer(content: Object, known: Object | None) -> bool:
        """Return whether an event is newer than the response to our own write, which may have arrived first."""
        if known is None:
            return True
        versions = [str(each["metadata"].get("resourceVersion", "")) for each in (known, content)]
        if all(version.isdigit() for version in versions):
            return int(versions[1]) > int(versions[0])
        return versions[0] != versions[1]


def _latest(listed: Object, known: Object | None) -> Object:
    """Return the newer of two versions of a slice; if it is unknown which that is, the one in the list."""
    if known is None:
        return listed
    versions = [str(each["metadata"].get("resourceVersion", "")) for each in (listed, known)]
    is_known_newer = all(version.isdigit() for version in versions) and int(versions[1]) > int(versions[0])
    return known if is_known_newer else listed


def _path(content: Object) -> str:
    return f"{SLICES}/{quote(content['metadata']['name'], safe='')}"


def _require_no_error(event: Object) -> None:
    if event.get("type") == "ERROR":
        found = event.get("object", {})
        raise ApiError(int(found.get("code", GONE)), str(found.get("message", "the watch ended")))
