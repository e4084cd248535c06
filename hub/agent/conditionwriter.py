"""Writes the node's conditions: after each change, and as a heartbeat."""

import random
import time

from hub.agent.conditions import Conditions, NodeCondition, patch_of, timestamp
from hub.agent.node import NodeObject
from hub.agent.settings import AgentSettings
from hub.apiserver.attempts import Attempts
from hub.apiserver.client import STRATEGIC_PATCH, ApiClient
from hub.apiserver.errors import ApiError
from hub.base.changecount import ChangeCounter
from hub.status.view import View

HEARTBEAT = 300.0
"""Seconds between writes of conditions that have not changed."""


class ConditionWriter:
    """Keeps the conditions of the node up to date.

    Args:
        settings: The agent's settings.
        client: Calls the API server.
        node: The node.
        view: What the hub knows.
        changes: When to check again.
        heartbeat: Seconds between writes of conditions that have not changed.
    """

    def __init__(
        self,
        settings: AgentSettings,
        client: ApiClient,
        node: NodeObject,
        view: View,
        changes: ChangeCounter,
        *,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._settings = settings
        self._client = client
        self._node = node
        self._view = view
        self._changes = changes
        self._heartbeat = heartbeat
        self._conditions = Conditions(settings)
        self._written: dict[str, NodeCondition | None] | None = None
        self._next_heartbeat = 0.0

    async def run(self) -> None:
        """Write the conditions until cancelled."""
        await Attempts("conditions").after_each(self._changes, self.write)

    async def write(self) -> float | None:
        """Write what has changed; return the seconds until the next write, even if nothing changes.

        Raises:
            ApiError: the API server did not accept it.
        """
        status = self._view.status
        if status is None:
            # Another agent is active. If this one becomes active later, it has to read what the other has written.
            self._written = None
            return None
        if self._written is None:
            self._conditions = Conditions(self._settings)
            self._written = dict.fromkeys(self._conditions.take_over(await self._node.read()))
        now = time.monotonic()
        look_again = self._conditions.update(status, now)
        await self._write_changes(now, self._written)
        until_heartbeat = max(0.0, self._next_heartbeat - time.monotonic())
        return until_heartbeat if look_again is None else min(look_again, until_heartbeat)

    async def _write_changes(self, now: float, written: dict[str, NodeCondition | None]) -> None:
        wanted = self._conditions.wanted
        is_due = now >= self._next_heartbeat
        changed: dict[str, NodeCondition | None] = {
            kind: each for kind, each in wanted.items() if is_due or written.get(kind) != each
        }
        changed |= dict.fromkeys(written.keys() - wanted.keys())
        if changed:
            await self._patch(changed)
            self._written = dict(wanted)
        if is_due:
            # Partly random, so that nodes that started together do not all write at the same moment.
            self._next_heartbeat = now + self._heartbeat * random.uniform(0.9, 1.0)  # noqa: S311 - not a secret

    async def remove(self) -> None:
        """Remove the conditions, because the agent is stopping.

        Raises:
            ApiError: the API server did not accept it.
        """
        if self._view.is_active() and self._written:
            await self._patch(dict.fromkeys(self._written))
            self._written = {}

    async def _patch(self, changed: dict[str, NodeCondition | None]) -> None:
        body = patch_of(changed, timestamp(time.time()))
        try:
            await self._client.patch(f"{self._node.path}/status", body, STRATEGIC_PATCH)
        except ApiError:
            # If there was no response, it is unknown what was written.
            self._next_heartbeat = 0
            raise
