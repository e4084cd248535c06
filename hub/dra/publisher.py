"""Keeps the slices of one driver in sync with what its plugin process publishes, while the process is connected."""

import asyncio
from collections.abc import Callable
from urllib.parse import quote

from hub.apiserver.attempts import Attempts
from hub.apiserver.client import METADATA_ONLY, ApiClient, Object
from hub.apiserver.errors import CONFLICT, NOT_FOUND, UNPROCESSABLE, ApiError
from hub.base.changecount import ChangeCounter
from hub.base.log import get_logger
from hub.dra.pool import Plan, Pool, lost, plan
from hub.dra.slices import Slices
from hub.model.dra import Object as Device
from hub.model.dra import Publication, PublicationState

_NO_TAINTS = "the API server drops taints, which need Kubernetes 1.36: devices that cannot be used are left out"
_DROPPED = "the API server has dropped some fields of the devices"


class Publisher:
    """Publishes one driver.

    Args:
        client: Calls the API server.
        node: The node's name.
        driver: The driver's name.
        report: Called with the state of the publication when it changes.
    """

    def __init__(self, client: ApiClient, node: str, driver: str, report: Callable[[PublicationState], None]) -> None:
        self._client = client
        self._node = node
        self._driver = driver
        self._report = report
        self._changes = ChangeCounter()
        self._slices = Slices(client, driver, node, self._changes)
        self._publication: Publication | None = None
        self._rejected: Publication | None = None
        self._drops_taints = False
        self._pool: Pool | None = None
        self._problem = ""
        self._log = get_logger(driver=driver)

    def publish(self, publication: Publication) -> None:
        """Replace what is published."""
        self._publication = publication
        self._changes.bump()

    async def run(self) -> None:
        """Keep the slices up to date, until cancelled."""
        self._state(published=False)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(Attempts("slices").after_each(self._changes, self._write))

    async def _follow(self) -> None:
        attempts = Attempts("slices")
        while True:
            await attempts.until_done(self._slices.follow)

    async def _write(self) -> None:
        """Write the slices that differ.

        Raises:
            ApiError: the request failed; it can be retried.
        """
        publication, found = self._publication, self._slices.found
        if publication is None or found is None or publication is self._rejected:
            return
        if not (publication.registered or publication.withdrawn):
            return
        try:
            pool = self._pool or await self._read_pool()
            todo = self._plan(pool, publication, found)
            if todo.creates:
                # Slices that have disappeared may have been deleted with their node, and this is the next one.
                pool = await self._read_pool()
                todo = self._plan(pool, publication, found)
            if not todo.is_empty:
                await self._execute(todo)
                todo = self._plan(pool, publication, found)
        except ApiError as error:
            await self._failed(error, publication)
            return
        if todo.is_empty:
            self._state(published=True)
        else:
            self._changes.bump()

    def _plan(self, pool: Pool, publication: Publication, found: dict[str, Object]) -> Plan:
        if publication.withdrawn:
            return Plan(deletes=[found[name] for name in sorted(found)])
        devices = [each for each in publication.devices if not (self._drops_taints and each.get("taints"))]
        return plan(pool, devices, found, self._slices.generation)

    async def _execute(self, todo: Plan) -> None:
        """Write the slices, until the API server turns out to drop a part of one.

        Raises:
            ApiError: the request failed; it can be retried.
        """
        for each in todo.deletes:
            await self._slices.delete(each)
        for content, exists in [*((each, True) for each in todo.updates), *((each, False) for each in todo.creates)]:
            answer = await self._slices.write(content, exists=exists)
            if lost(content, answer):
                self._notice_loss(content, answer)
                return
        self._log.info(
            "slices written", deleted=len(todo.deletes), updated=len(todo.updates), created=len(todo.creates)
        )

    def _notice_loss(self, sent: Object, answer: Object) -> None:
        """Notice what the API server has dropped.

        Raises:
            ApiError: it is something without which the devices must not be published.
        """
        if not self._drops_taints and _has_taints(sent) and not _has_taints(answer):
            self._drops_taints, self._problem = True, _NO_TAINTS
            self._log.warning("taints dropped", reason=_NO_TAINTS)
            return
        raise ApiError(UNPROCESSABLE, _DROPPED)

    async def _failed(self, error: ApiError, publication: Publication) -> None:
        """Handle an error: read the slices again, wait for other devices, or try again later.

        Raises:
            ApiError: the same request should be retried later.
        """
        self._state(published=False, problem=f"the API server has not accepted the devices: {error}")
        if error.status in (CONFLICT, NOT_FOUND):
            await self._slices.relist()
        elif error.status == UNPROCESSABLE:
            self._rejected = publication
            self._log.error("slices rejected", reason=error.reason)
            return
        raise error

    async def _read_pool(self) -> Pool:
        node = await self._client.get(f"/api/v1/nodes/{quote(self._node, safe='')}", Object, METADATA_ONLY)
        self._pool = Pool(self._driver, self._node, str(node.get("metadata", {}).get("uid", "")))
        return self._pool

    def _state(self, *, published: bool, problem: str = "") -> None:
        self._report(PublicationState(published, self._node, problem or self._problem))


def _has_taints(content: Object) -> bool:
    devices: list[Device] = content["spec"].get("devices") or []
    return any(each.get("taints") for each in devices)
