"""Kubernetes events about the node's devices, in the API group events.k8s.io."""

import zlib
from collections import OrderedDict
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

from hub.agent.conditions import shorten
from hub.agent.objects import PartialObject
from hub.agent.occurrences import Occurrence
from hub.apiserver.client import MERGE_PATCH, ApiClient, Object
from hub.apiserver.errors import CONFLICT, NOT_FOUND, ApiError

CONTROLLER = "dphub.dev/agent"
SERIES_SECONDS = 360.0
"""Seconds within which a repeated event only increases the count of the first one, as in client-go."""

_ACTION = "HealthCheck"
_NODE_NAMESPACE = "default"
"""The namespace of events about objects without one."""
_MAX_SERIES = 256
_MAX_INSTANCE_CHARACTERS = 128


class _Series(NamedTuple):
    path: str
    occurrences: int
    last: float


class EventSink:
    """Creates events; for a repetition, increases the count of the earlier event instead.

    Args:
        client: Calls the API server.
        instance: The name of the hub, for `reportingInstance`.
    """

    def __init__(self, client: ApiClient, instance: str) -> None:
        self._client = client
        self._instance = instance[:_MAX_INSTANCE_CHARACTERS]
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()

    async def write(self, occurrence: Occurrence, regarding: Object, related: Object | None = None) -> None:
        """Write an event.

        Args:
            occurrence: What happened.
            regarding: The object that the event is about.
            related: Another object.

        Raises:
            ApiError: the API server did not accept it.
        """
        # The note is part of the key, because it names the device and the reason, and cannot be changed later.
        key = (occurrence.reason, occurrence.kind, occurrence.note, *map(str, regarding.values()))
        series = self._series.get(key)
        if series and occurrence.time - series.last < SERIES_SECONDS:
            try:
                self._remember(key, await self._count(series, occurrence.time))
            except ApiError as error:
                if error.status != NOT_FOUND:
                    raise
            else:
                return
        path = await self._create(occurrence, regarding, related)
        self._remember(key, _Series(path, 1, occurrence.time))

    async def _count(self, series: _Series, now: float) -> _Series:
        count = series.occurrences + 1
        change = {"series": {"count": count, "lastObservedTime": micro_time(now)}}
        await self._client.patch(series.path, change, MERGE_PATCH)
        return _Series(series.path, count, now)

    async def _create(self, occurrence: Occurrence, regarding: Object, related: Object | None) -> str:
        namespace = regarding.get("namespace", _NODE_NAMESPACE)
        nanoseconds = int(occurrence.time * 1e9)
        # Two events about one object may have the same time.
        digest = zlib.crc32(f"{occurrence.reason} {occurrence.note}".encode())
        name = f"{regarding['name'][:200].rstrip('.-')}.{nanoseconds:x}{digest:08x}"
        collection = f"/apis/events.k8s.io/v1/namespaces/{quote(namespace, safe='')}/events"
        content: Object = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": micro_time(occurrence.time),
            "type": occurrence.kind,
            "reason": occurrence.reason,
            "action": _ACTION,
            "note": shorten(occurrence.note),
            "regarding": regarding,
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
        }
        if related:
            content["related"] = related
        try:
            await self._client.create(collection, content, PartialObject)
        except ApiError as error:
            # A conflict means that an earlier attempt succeeded and its response was lost.
            if error.status != CONFLICT:
                raise
        return f"{collection}/{quote(name, safe='')}"

    def _remember(self, key: tuple[str, ...], series: _Series) -> None:
        self._series[key] = series
        self._series.move_to_end(key)
        while len(self._series) > _MAX_SERIES:
            self._series.popitem(last=False)


def micro_time(moment: float) -> str:
    """Return a Unix time as the API writes it, in microseconds."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
