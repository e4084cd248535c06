"""Cordons that an annotation of the node requests, and the annotation that lists all cordoned devices."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from itertools import islice

import msgspec

from hub.agent.eventwriter import EventWriter
from hub.agent.node import NodeObject
from hub.agent.occurrences import WARNING, Occurrence
from hub.apiserver.attempts import Attempts
from hub.apiserver.client import MERGE_PATCH, ApiClient
from hub.base.changecount import ChangeCounter
from hub.base.errors import HubError
from hub.base.log import get_logger
from hub.base.paths import RunDir
from hub.base.untrusted import UnreadableError, decode_json
from hub.base.wording import first_of
from hub.model.admin import LINE_BYTES, Cordon, Request, Response, Uncordon
from hub.model.node import Condition, NodeStatus
from hub.status.lookup import DeviceIndex, Key, known_devices
from hub.status.view import View

WANTED = "dphub.dev/cordon"
"""The annotation that names the devices to cordon, separated by commas."""

CORDONED = "dphub.dev/cordoned"
"""The annotation that lists all cordoned devices."""

CORDON_FAILED = "CordonFailed"

_SECONDS = 15.0
"""The time limit for a response from a plugin."""

_RETRY_SECONDS = 10.0
"""Seconds until a plugin that did not answer is called again."""

_SOON_KNOWN = {Condition.STARTING, Condition.BACKING_OFF, Condition.UNRESPONSIVE, Condition.STOPPING}
"""Conditions of plugins that are about to report their devices."""

_LONGEST_NAME = 300
_MAX_NAMES = 1000
_MAX_LOGGED = 20
_MAX_IN_EVENT = 4


class Cordons:
    """Cordons what the annotation names, and releases what it no longer names; other cordons stay as they are.

    Args:
        client: Calls the API server.
        node: The node, with its annotations.
        view: What the hub knows.
        changes: When to check again.
        run_dir: Where the plugins take commands.
        events: Receives an event when a device cannot be cordoned; None to write no events.
    """

    def __init__(
        self,
        client: ApiClient,
        node: NodeObject,
        view: View,
        changes: ChangeCounter,
        *,
        run_dir: RunDir,
        events: EventWriter | None,
    ) -> None:
        self._client = client
        self._node = node
        self._view = view
        self._changes = changes
        self._run_dir = run_dir
        self._events = events
        self._keys: dict[str, Key] = {}
        self._failures: dict[str, str] = {}
        self._log = get_logger()

    async def run(self) -> None:
        """Follow the annotation until cancelled."""
        await Attempts("cordons").after_each(self._changes, self.update)

    async def update(self) -> float | None:
        """Cordon and release devices, and list the cordoned ones; return the seconds until the next attempt, if any.

        Raises:
            ApiError: the API server did not accept the list.
        """
        status, annotations = self._view.status, self._node.annotations
        if status is None or annotations is None:
            return None
        failures: dict[str, str] = {}
        wanted = self._find(status, annotations.get(WANTED, ""), failures)
        is_answered = await self._apply(status, wanted, failures)
        # While a plugin is starting, its devices are unknown: a name that was not found may belong to one of them.
        if not any(plugin.condition in _SOON_KNOWN for plugin in status.plugins):
            self._report(failures)
        await self._list(status, annotations)
        return None if is_answered else _RETRY_SECONDS

    def _find(self, status: NodeStatus, text: str, failures: dict[str, str]) -> dict[Key, str]:
        """Return the devices that the annotation names, each with the name that it uses."""
        names = list(dict.fromkeys(filter(None, (name.strip()[:_LONGEST_NAME] for name in text.split(",")))))[
            :_MAX_NAMES
        ]
        index = DeviceIndex(status)
        keys: dict[str, Key] = {}
        for name in names:
            try:
                keys[name] = index.find(name)
            except HubError as error:
                # A device that is absent for a moment stays cordoned if it was found by this name before.
                if name in self._keys:
                    keys[name] = self._keys[name]
                else:
                    failures[name] = str(error)
        self._keys = keys
        return {key: name for name, key in keys.items()}

    async def _apply(self, status: NodeStatus, wanted: Mapping[Key, str], failures: dict[str, str]) -> bool:
        """Send the differences to the plugins; return whether all plugins have answered."""
        is_answered = True
        for plugin in status.plugins:
            if not plugin.report.pid:
                continue
            asked = {key for owner, key in wanted if owner == plugin.name}
            found = set(plugin.report.annotated)
            requests: list[Request] = [Cordon(key, by_annotation=True) for key in sorted(asked - found)]
            requests += [Uncordon(key, by_annotation=True) for key in sorted(found - asked)]
            for request in requests:
                response = await self._send(plugin.name, request)
                if response is None:
                    # The plugin may hang: each further request would take just as long, while other plugins wait.
                    is_answered = False
                    break
                if not response.ok and isinstance(request, Cordon):
                    failures[wanted[plugin.name, request.device]] = response.message
        return is_answered

    async def _send(self, plugin: str, request: Request) -> Response | None:
        """Send a request to a plugin; return None if it does not answer, for example because it is restarting."""
        path = self._run_dir.admin_socket(plugin)
        try:
            async with asyncio.timeout(_SECONDS):
                reader, writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES)
                try:
                    writer.write(msgspec.json.encode(request) + b"\n")
                    await writer.drain()
                    return decode_json(await reader.readline(), Response, path)
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError, UnreadableError, ValueError):
            return None

    def _report(self, failures: dict[str, str]) -> None:
        """Log each failure once, and write one event: the author of the annotation may not see the log."""
        new = {name: reason for name, reason in failures.items() if self._failures.get(name) != reason}
        self._failures = failures
        for name, reason in islice(new.items(), _MAX_LOGGED):
            self._log.warning("cordon failed", device=name, reason=reason)
        if new and self._events:
            # Only one: each waits for the API server, and events about devices wait behind it.
            note = f"annotation {WANTED}: {first_of(list(new.values()), _MAX_IN_EVENT)}"
            about = first_of(list(new), _MAX_IN_EVENT)
            self._events.add(Occurrence(WARNING, CORDON_FAILED, note, about, time=time.time()))

    async def _list(self, status: NodeStatus, annotations: Mapping[str, str]) -> None:
        listed = ",".join(sorted(_names(status)))
        if listed != annotations.get(CORDONED, ""):
            patch = {"metadata": {"annotations": {CORDONED: listed or None}}}
            await self._client.patch(self._node.path, patch, MERGE_PATCH)

    async def remove(self) -> None:
        """Remove the list, because the agent is stopping. The cordons stay.

        Raises:
            ApiError: the API server did not accept it.
        """
        if self._view.is_active() and (self._node.annotations or {}).get(CORDONED):
            await self._client.patch(self._node.path, {"metadata": {"annotations": {CORDONED: None}}}, MERGE_PATCH)


def _names(status: NodeStatus) -> Iterable[str]:
    """Return the shortest names of all cordoned devices; for absent devices, the names that their plugins use."""
    shortest = {each.key: each.names[0] for each in reversed(list(known_devices(status)))}
    cordoned = [(plugin.name, key) for plugin in status.plugins for key in plugin.report.cordons]
    return {shortest.get(key, key[1]) for key in cordoned}
