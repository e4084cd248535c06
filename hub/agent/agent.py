"""The agent from start to stop."""

import asyncio
from collections.abc import Iterator

from hub.agent.annotationcordons import Cordons
from hub.agent.conditionwriter import ConditionWriter
from hub.agent.eventwriter import EventWriter
from hub.agent.node import NodeObject
from hub.agent.settings import AGENT, AgentSettings
from hub.agent.startuptaint import StartupTaint
from hub.apiserver.attempts import Attempts
from hub.apiserver.client import ApiClient
from hub.apiserver.errors import ApiError
from hub.base.changecount import ChangeCounter
from hub.base.exits import Exit
from hub.base.instances import ServingLock
from hub.base.log import get_logger
from hub.base.paths import RunDir
from hub.base.statusfile import StatusFile
from hub.base.stopsignals import stop_event
from hub.base.tasks import Tasks, Work
from hub.status.view import View

_REMOVAL_SECONDS = 3.0
"""Seconds that a stopping agent may take to remove what it has written; the hub kills it after five."""


class Agent:
    """Passes information about the devices of a node between the hub and the cluster.

    Args:
        settings: The configuration.
        client: Calls the API server.
        run_dir: The run directory, and the agent's hub.
        node: The node's name.
    """

    def __init__(self, settings: AgentSettings, client: ApiClient, run_dir: RunDir, node: str) -> None:
        self._settings = settings
        self._changes = ChangeCounter()
        self._view = View(run_dir, AGENT, self._changes)
        self._node = NodeObject(client, node, self._changes)
        self._lock = ServingLock(run_dir, AGENT)
        self._tasks = Tasks(StatusFile(None, lambda: None))
        self._conditions = ConditionWriter(settings, client, self._node, self._view, self._changes)
        self._events = EventWriter(client, self._node, self._view, self._changes, run_dir)
        self._cordons = Cordons(
            client,
            self._node,
            self._view,
            self._changes,
            run_dir=run_dir,
            events=self._events if settings.events else None,
        )
        self._taint = StartupTaint(settings, client, self._node, self._view, self._changes)
        self._log = get_logger()

    async def run(self) -> Exit:
        """Run until a signal stops it."""
        stopped = stop_event()
        self._lock.acquire()
        self._log.info("agent started", node=self._node.name)
        async with self._tasks.running(self._work()):
            await stopped.wait()
        await self._remove()
        self._lock.release()
        self._log.info("agent stopped")
        return Exit.OK

    def _work(self) -> Iterator[tuple[str, Work]]:
        yield "view", self._view.run
        yield "check of the lock", self._lock.keep
        if self._settings.conditions:
            yield "conditions", self._conditions.run
        if self._settings.events:
            yield "events", self._events.run
        if self._settings.cordons:
            yield "cordons", self._cordons.run
        if self._settings.startup_taint:
            yield "startup taint", self._taint.run
        if self._settings.cordons or self._settings.startup_taint:
            yield "watch", self._watch

    async def _watch(self) -> None:
        """Follow the node's annotations until cancelled."""
        attempts = Attempts("watch")
        while True:
            await attempts.until_done(self._node.watch)

    async def _remove(self) -> None:
        """Remove what would become outdated without an agent, unless another agent is active."""
        try:
            async with asyncio.timeout(_REMOVAL_SECONDS):
                await self._conditions.remove()
                await self._cordons.remove()
        except (ApiError, TimeoutError) as error:
            reason = str(error) or "the API server does not answer"
            self._log.warning("agent cleanup incomplete", reason=reason)
