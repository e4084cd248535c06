"""The status of the node, which is read again whenever one of the hub's files has changed."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from asyncinotify import Event, Inotify, Mask

from hub.base.changecount import ChangeCounter
from hub.base.errors import HubError
from hub.base.filewatch import watch_error
from hub.base.instances import serving
from hub.base.paths import SERVING_DIR, RunDir
from hub.base.removal import make_directory
from hub.status.reader import Reader

if TYPE_CHECKING:
    from hub.model.node import NodeStatus

SETTLE = 1.0
"""Seconds from a change until the files are read: a device that recovers within this time counts as unchanged."""


class View:
    """The status of the node, and whether this process is the active one.

    During an upgrade, two hubs run on the node, each with a process of this component. Only the newest hub's acts.

    Args:
        run_dir: The run directory, with the name of the process's hub.
        component: The name of the component, and of the lock that each of its processes holds.
        changes: Counts each change.
        settle: Seconds from a change until the files are read.

    Attributes:
        status: The latest status; None before the first one, and while another process is active.
    """

    def __init__(self, run_dir: RunDir, component: str, changes: ChangeCounter, *, settle: float = SETTLE) -> None:
        self.status: NodeStatus | None = None
        self._run_dir = run_dir
        self._component = component
        self._changes = changes
        self._settle = settle
        self._reader = Reader(run_dir)
        self._dirty = asyncio.Event()

    def is_active(self) -> bool:
        """Return whether no newer hub on the node has a process of this component."""
        running = sorted(each for each in serving(self._run_dir, self._component) if each.is_running and each.since)
        return not running or running[-1].name == self._run_dir.instance

    async def run(self) -> None:
        """Keep the status up to date, until cancelled.

        Raises:
            HubError: the run directory cannot be watched.
        """
        try:
            inotify = Inotify()
        except OSError as error:
            raise watch_error(self._run_dir.path, error) from None
        with inotify:
            self._watch(inotify)
            reading = asyncio.create_task(self._read_changes())
            try:
                async for event in inotify:
                    if self._concerns(event):
                        self._dirty.set()
            finally:
                reading.cancel()

    def _watch(self, inotify: Inotify) -> None:
        directory = self._run_dir.path
        try:
            inotify.add_watch(directory, Mask.MOVED_TO | Mask.ONLYDIR)
            directory /= SERVING_DIR
            make_directory(directory)
            inotify.add_watch(directory, Mask.CLOSE_WRITE | Mask.ONLYDIR)
        except OSError as error:
            raise watch_error(directory, error) from None

    def _concerns(self, event: Event) -> bool:
        """Return whether a report of this hub or a plugin has changed, or a component process has started or exited."""
        if event.path is None:
            return True
        name = Path(event.path).name
        if name.endswith(".json"):
            return name.startswith(f"{self._run_dir.instance}.")
        return name.endswith(f".{self._component}.lock")

    async def _read_changes(self) -> None:
        self.read()
        while True:
            await self._dirty.wait()
            await asyncio.sleep(self._settle)
            self._dirty.clear()
            self.read()

    def read(self) -> None:
        """Read the status now."""
        status = None
        if self.is_active():
            try:
                status = self._reader.status(running=True, memory=False)
            except HubError:
                # Another process has removed or changed the hub's report, which is written again soon.
                return
        self.status = status
        self._changes.bump()
