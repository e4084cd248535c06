"""Writes events about changes in the devices' health, in the order in which they happen."""

import time
from collections import deque
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from hub.agent.eventsink import EventSink
from hub.agent.node import NodeObject
from hub.agent.objects import PartialObject
from hub.agent.occurrences import Announced, Occurrence, Occurrences, Pod
from hub.agent.settings import AGENT
from hub.apiserver.attempts import Attempts
from hub.apiserver.client import METADATA_ONLY, ApiClient
from hub.apiserver.errors import NOT_FOUND, ApiError
from hub.base.changecount import ChangeCounter
from hub.base.jsonfile import read_file
from hub.base.log import get_logger
from hub.base.nodedir import node_path
from hub.base.paths import RunDir
from hub.base.removal import make_directory
from hub.base.statusfile import StatusFile
from hub.base.untrusted import UnreadableError
from hub.status.view import View

MAX_WAITING = 500
"""Maximum number of events waiting for the API server; if there are more, the oldest are dropped."""

_MAX_REJECTIONS = 12
"""Number of rejections by the API server after which an event is dropped."""


class EventWriter:
    """Writes an event whenever a device becomes unhealthy or recovers.

    Args:
        client: Calls the API server.
        node: The node.
        view: What the hub knows.
        changes: When to check again.
        run_dir: Where to record which health changes have been reported as events.
    """

    def __init__(
        self, client: ApiClient, node: NodeObject, view: View, changes: ChangeCounter, run_dir: RunDir
    ) -> None:
        self._client = client
        self._node = node
        self._view = view
        self._changes = changes
        self._sink = EventSink(client, run_dir.instance)
        self._path = announced_path(run_dir)
        self._occurrences: Occurrences | None = None
        self._waiting: deque[_Delivery] = deque()
        self._rejections = 0
        self._delivered = Announced()
        self._file = StatusFile(self._path, lambda: self._delivered)
        self._log = get_logger()

    async def run(self) -> None:
        """Write events until cancelled."""
        await Attempts("events").after_each(self._changes, self._look)

    def add(self, occurrence: Occurrence) -> None:
        """Queue an occurrence to be written as events: one on the node, and one on each pod that uses the device."""
        for pod in (None, *occurrence.pods):
            self._waiting.append(_Delivery(occurrence, pod))
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self._log.warning("event dropped", reason=f"{MAX_WAITING} others are waiting for the API server")

    async def _look(self) -> None:
        self._find()
        while self._waiting:
            await self._try(self._waiting[0])
            self._waiting.popleft()
            # A device may have changed in the meantime.
            self._find()
        if self._occurrences and self._delivered != self._occurrences.announced:
            self._delivered = _copy(self._occurrences.announced)
            make_directory(self._path.parent)
            self._file.write()

    def _find(self) -> None:
        """Queue what has happened; while another agent is active, forget what has been reported."""
        status = self._view.status
        if status is None:
            self._occurrences = None
            return
        if self._occurrences is None:
            self._delivered = _read(self._path)
            self._occurrences = Occurrences(_copy(self._delivered))
        for occurrence in self._occurrences.update(status, time.time()):
            self.add(occurrence)

    async def _try(self, delivery: "_Delivery") -> None:
        """Write an event; give up on one that the API server has rejected several times.

        Raises:
            ApiError: it has to be tried again.
        """
        try:
            await self._write(*delivery)
        except ApiError as error:
            self._rejections += not error.is_outage
            if self._rejections < _MAX_REJECTIONS:
                raise
            self._log.warning("event dropped", reason=str(error))
        self._rejections = 0

    async def _write(self, occurrence: Occurrence, pod: Pod | None) -> None:
        node = await self._node.reference()
        if pod is None:
            # Kubernetes has no object for a device: it is a part of the node, as a container is a part of a pod.
            await self._sink.write(occurrence, node | {"fieldPath": f"devices{{{occurrence.about}}}"})
            return
        path = f"/api/v1/namespaces/{quote(pod.namespace, safe='')}/pods/{quote(pod.name, safe='')}"
        try:
            found = await self._client.get(path, PartialObject, METADATA_ONLY)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return
            raise
        regarding = {"apiVersion": "v1", "kind": "Pod", **pod._asdict(), "uid": found.metadata.uid}
        await self._sink.write(occurrence, regarding, node)


class _Delivery(NamedTuple):
    """An event that has to be written."""

    occurrence: Occurrence
    pod: Pod | None
    """The pod that it is about; None if it is about the node."""


def announced_path(run_dir: RunDir) -> Path:
    """Return the file that records which health changes have been reported as events."""
    return node_path(run_dir.path, AGENT, "announced.json")


def _read(path: Path) -> Announced:
    try:
        return read_file(path, Announced) or Announced()
    except UnreadableError:
        return Announced()


def _copy(announced: Announced) -> Announced:
    return Announced(dict(announced.unhealthy))
