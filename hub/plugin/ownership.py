"""Which hub's plugin owns the devices on the node, while a rolling upgrade runs two hubs side by side.

    role        meaning                                            next state
    ----------  -------------------------------------------------  ----------------------------------------------
    STANDBY     this process is not serving yet                    acquire(): to ACTIVE, or SUPERSEDED
    ACTIVE      it is serving, and no newer hub's plugin is        a newer one starts to serve: to SUPERSEDED
    SUPERSEDED  it and a newer hub's plugin are both serving       the newer one exits: to ACTIVE

A hub whose plugin is not serving yet, or has stopped, leaves everything to the older one.
"""

from enum import Enum, auto
from pathlib import Path

from hub.base.instances import acquire_serving_lock, running_hubs, serving
from hub.base.log import get_logger
from hub.base.paths import RunDir
from hub.base.sockets import is_served, socket_name


class Role(Enum):
    """What this process may do with the devices: only an active one writes health records and recovers devices."""

    STANDBY = auto()
    ACTIVE = auto()
    SUPERSEDED = auto()


class Ownership:
    """The hubs on the node whose plugin of this name serves, as of the last refresh.

    Args:
        run_dir: The directory that the hubs on the node share, and the name of ours; None for a plugin that was started
            by hand.
        plugin: The plugin's name.
        plugin_dir: The kubelet's plugin directory.

    Attributes:
        older: The names of the older hubs, the oldest first.
        newer: The names of the newer hubs, the newest last.
    """

    def __init__(self, run_dir: RunDir | None, plugin: str, plugin_dir: Path) -> None:
        self.older: list[str] = []
        self.newer: list[str] = []
        self._run_dir = run_dir
        self._plugin = plugin
        self._plugin_dir = plugin_dir
        self._acquired = False
        self._latest_start = 0
        self._log = get_logger()

    @property
    def role(self) -> Role:
        """The role of this process."""
        if not self._acquired:
            return Role.STANDBY
        return Role.SUPERSEDED if self.newer else Role.ACTIVE

    @property
    def newest(self) -> str:
        """The name of the newest hub, if that is not ours: it owns the devices."""
        return self.newer[-1] if self.newer else ""

    def refresh(self) -> None:
        """Read from the locks which hubs serve. Nothing else reads them."""
        if not self._run_dir:
            return
        own = self._run_dir.instance
        hubs = [hub.name for hub in running_hubs(self._run_dir)]
        if own not in hubs:
            return
        older, newer = hubs[: hubs.index(own)], hubs[hubs.index(own) + 1 :]
        processes = [each for each in serving(self._run_dir, self._plugin) if each.name != own]
        running = {each.name for each in processes if each.is_running}
        before = self.newest
        self.older = [name for name in older if name in running]
        self.newer = [name for name in newer if name in running]
        self._latest_start = max((each.since for each in processes if each.name not in older), default=0)
        if before and not self.newer:
            self._log.info("newer hub exited", hub=before)
        elif self.newer and not before:
            self._log.info("superseded by newer hub", hub=self.newest)

    def acquire(self) -> None:
        """Serve from now on, and let the other hubs know; an older one leaves the devices to this process."""
        self._acquired = True
        try:
            if self._run_dir:
                acquire_serving_lock(self._run_dir, self._plugin)
        except OSError as error:
            self._log.warning("serving lock not acquired", reason=str(error))

    def older_of(self, resource: str) -> str:
        """Return an older hub that serves a resource; empty if none does."""
        return next((name for name in self.older if self._serves(name, resource)), "")

    def newer_of(self, resource: str) -> str:
        """Return a newer hub that serves a resource; empty if none does."""
        return next((name for name in self.newer if self._serves(name, resource)), "")

    def started_since(self, time_ns: int) -> bool:
        """Return whether the plugin of a newer hub has begun to serve after a time of `instances.now`.

        One may have come and gone between two refreshes.
        """
        return self._latest_start > time_ns

    def _serves(self, hub: str, resource: str) -> bool:
        return is_served(self._plugin_dir / socket_name(resource, hub, self._plugin_dir))
