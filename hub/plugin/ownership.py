"""Which hub's plugin owns the devices on the node, while a rolling upgrade runs two or more hubs side by side.

    role        meaning                                            next state
    ----------  -------------------------------------------------  ----------------------------------------------
    STANDBY     this process is not serving yet                    acquire(): to ACTIVE, or SUPERSEDED
    ACTIVE      it is serving, and no newer hub's plugin is        a newer one starts to serve: to SUPERSEDED
    SUPERSEDED  it and a newer hub's plugin are both serving       the newer one hands over or exits: to ACTIVE
    EXITING     it is about to exit; another hub's plugin is serving

A hub whose plugin is not serving yet, or is about to exit, or has stopped, leaves the devices to the others.

A hub that runs as the node's systemd service, and not in a pod, counts as the newest, whenever it was started. So a hub
in a pod that starts alongside it is superseded from its first scan on: it registers nothing, and takes over at once
when the service is gone.
"""

from collections.abc import AsyncIterator
from enum import Enum, auto
from pathlib import Path

from hub.base.filewatch import closed_files
from hub.base.instances import ServingLock, now, running_hubs, serving
from hub.base.jsonfile import read_file
from hub.base.log import get_logger
from hub.base.ownerfile import OwnerFile
from hub.base.paths import SERVING_DIR, RunDir
from hub.base.sockets import is_served, socket_name
from hub.base.untrusted import UnreadableError
from hub.model.hub import InstanceReport, RunState
from hub.model.plugin import PluginReport

OPEN_TIMEOUT = 3.0
"""Seconds that a plugin has, once it serves, to open the socket of a resource; a plugin without the socket after that
time does not have the resource."""


class Role(Enum):
    """What this process may do with the devices: only an active process writes health records and recovers devices."""

    STANDBY = auto()
    ACTIVE = auto()
    SUPERSEDED = auto()
    EXITING = auto()


class Ownership:
    """The hubs on the node whose plugin with this name is serving, as of the last refresh.

    Args:
        run_dir: The directory that the hubs on the node share, and the name of ours; None for a plugin that was started
            by hand.
        plugin: The plugin's name.
        plugin_dir: The kubelet's plugin directory.

    Attributes:
        has_hub: Whether our own hub is running. A process that was started by hand has none, and is neither older nor
            newer.
        others: The names of all other hubs that are running, the oldest first.
        older: The names of the older hubs whose plugin is serving.
        newer: The names of the newer hubs whose plugin is serving.
    """

    def __init__(self, run_dir: RunDir | None, plugin: str, plugin_dir: Path) -> None:
        self.has_hub = False
        self.others: list[str] = []
        self.older: list[str] = []
        self.newer: list[str] = []
        self._run_dir = run_dir
        self._plugin = plugin
        self._plugin_dir = plugin_dir
        self._acquired = False
        self._exiting = False
        self._lock = ServingLock(run_dir, plugin) if run_dir else None
        self._starting: list[str] = []
        self._serving_since: dict[str, int] = {}
        self._services: set[str] = set()
        self._log = get_logger()

    @property
    def is_shared(self) -> bool:
        """Whether this process belongs to a hub, so that there may be others."""
        return self._run_dir is not None

    @property
    def role(self) -> Role:
        """The role of this process."""
        if self._exiting:
            return Role.EXITING
        if not self._acquired:
            return Role.STANDBY
        return Role.SUPERSEDED if self.newer else Role.ACTIVE

    @property
    def newest(self) -> str:
        """The name of the newest hub, if that is not ours: it owns the devices."""
        return self.newer[-1] if self.newer else ""

    def refresh(self) -> None:
        """Determine from the locks which hubs are serving. Nothing else reads the locks."""
        if not self._run_dir:
            return
        own = self._run_dir.instance
        running = running_hubs(self._run_dir)
        hubs = [hub.name for hub in running]
        self.has_hub = own in hubs
        if not self.has_hub:
            return
        older, newer = hubs[: hubs.index(own)], hubs[hubs.index(own) + 1 :]
        found = serving(self._run_dir, self._plugin)
        self._serving_since = {each.name: each.since for each in found if each.is_running}
        before, was_service = self.newest, self.newest in self._services
        self._services = {hub.name for hub in running if hub.is_service}
        self.others = older + newer
        self.older = [name for name in older if name in self._serving_since]
        self.newer = [name for name in newer if name in self._serving_since]
        self._starting = [name for name in newer if name not in self._serving_since]
        if before and not self.newer:
            self._log_exit(before, is_service=was_service)
        elif self.newer and not before:
            self._log_owner()

    def _log_exit(self, hub: str, *, is_service: bool) -> None:
        if is_service:
            self._log.info("node service exited", hub=hub)
        else:
            self._log.info("newer hub exited", hub=hub)

    def _log_owner(self) -> None:
        if self.is_service(self.newest):
            self._log.info("superseded by node service", hub=self.newest)
        else:
            self._log.info("superseded by newer hub", hub=self.newest)

    def is_service(self, hub: str) -> bool:
        """Return whether a hub is the node's service."""
        return hub in self._services

    def describe(self, hub: str) -> str:
        """Return a hub's name for a message, which also says if the hub is the node's service."""
        return f"the node's service (hub {hub})" if hub in self._services else f"hub {hub}"

    def acquire(self) -> None:
        """Serve from now on, and let the other hubs know; an older one leaves the devices to this process."""
        self._acquired = True
        try:
            if self._lock:
                self._lock.acquire()
        except OSError as error:
            self._log.warning("serving lock not acquired", reason=str(error))

    def release(self) -> None:
        """Leave the devices to another hub, and let the other hubs know; this process is about to exit."""
        self._exiting = True
        if self._lock:
            self._lock.release()

    async def keep_lock(self) -> None:
        """Take the lock again whenever its file is removed or replaced, until cancelled.

        Raises:
            HubError: the lock cannot be taken.
        """
        if self._lock:
            await self._lock.keep()

    async def changes(self) -> AsyncIterator[None]:
        """Yield when another hub's plugin may have registered a resource, handed over, or exited."""
        if self._run_dir:
            async for _ in closed_files(self._run_dir.path / SERVING_DIR):
                yield

    def owner_file(self, resource: str) -> OwnerFile:
        """Return the file that records which hub the kubelet calls for a resource."""
        run_dir = self._run_dir
        return OwnerFile(run_dir.owner(resource), run_dir.instance) if run_dir else OwnerFile(None, "")

    def newer_of(self, resource: str) -> str:
        """Return the newest hub that is serving a resource, if that is not ours; empty if none is."""
        return next((name for name in reversed(self.newer) if self._has_socket(name, resource)), "")

    def neighbors_of(self, resource: str) -> set[str]:
        """Return the other hubs with a socket for a resource; the kubelet may have a stream from each of them."""
        return {name for name in self.others if self._has_socket(name, resource)}

    def is_served_elsewhere(self, resource: str) -> bool:
        """Return whether another hub's plugin is serving a resource."""
        return any(self._has_socket(name, resource) for name in (*self.older, *self.newer))

    def may_be_taken_over(self, resource: str) -> bool:
        """Return whether another hub serves a resource, or may be about to."""
        return any(self._may_have(name, resource) for name in (*self.older, *self.newer)) or any(
            self._may_start(name) for name in self._starting
        )

    def _may_have(self, hub: str, resource: str) -> bool:
        has_just_begun = now() - self._serving_since[hub] < OPEN_TIMEOUT * 1e9
        return has_just_begun or self._has_socket(hub, resource)

    def _may_start(self, hub: str) -> bool:
        """Return whether a hub whose plugin is not serving may be starting it, according to the reports of both."""
        if not self._run_dir:
            return False
        run_dir = RunDir(self._run_dir.path, hub)
        try:
            instance = read_file(run_dir.hub_report, InstanceReport)
            plugin = read_file(run_dir.report(self._plugin), PluginReport)
        except UnreadableError:
            return True
        if instance is None:
            # A hub writes its report before it starts a plugin.
            return True
        process = next((each for each in instance.processes if each.name == self._plugin), None)
        if process is None or process.run in {RunState.STOPPING, RunState.STOPPED}:
            return False
        return not (plugin and plugin.pid == process.pid and plugin.standby)

    def _has_socket(self, hub: str, resource: str) -> bool:
        return is_served(self._plugin_dir / socket_name(resource, hub, self._plugin_dir))
