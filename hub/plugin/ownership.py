"""Other hubs on the node, during a rolling upgrade: the one that is to go, and the one that is to stay."""

from pathlib import Path

from hub.base.instances import acquire_serving_lock, running_hubs, serving
from hub.base.paths import RunDir
from hub.base.sockets import is_served, socket_name


class Ownership:
    """Other hubs whose process of the same plugin serves, as of the last look.

    A hub that has come and whose plugin does not serve yet, or not any more, leaves everything to the older one.

    Args:
        run_dir: What all hubs of the node share, and which of them is ours; None for a plugin that was started by hand.
        plugin: The plugin.
        plugin_dir: The kubelet's plugin directory.
    """

    def __init__(self, run_dir: RunDir | None, plugin: str, plugin_dir: Path) -> None:
        self._run_dir = run_dir
        self._plugin = plugin
        self._plugin_dir = plugin_dir
        self.newest = 0
        """Since when the youngest process serves that is not an older hub's, or did, as `instances.now` tells it."""
        self._older: list[str] = []
        self._younger: list[str] = []

    def refresh(self) -> None:
        """Find out who serves."""
        if not self._run_dir:
            return
        own = self._run_dir.instance
        hubs = [hub.name for hub in running_hubs(self._run_dir)]
        if own not in hubs:
            return
        older, younger = hubs[: hubs.index(own)], hubs[hubs.index(own) + 1 :]
        processes = [each for each in serving(self._run_dir, self._plugin) if each.name != own]
        alive = {each.name for each in processes if each.is_running}
        self._older = [name for name in older if name in alive]
        self._younger = [name for name in younger if name in alive]
        self.newest = max((each.since for each in processes if each.name not in older), default=0)

    def acquire(self) -> None:
        """Let others know that from now on this process serves.

        Raises:
            OSError: the file for that cannot be made.
        """
        if self._run_dir:
            acquire_serving_lock(self._run_dir, self._plugin)

    @property
    def newer(self) -> str:
        """The youngest hub, where that is another than ours: what belongs to the node is its business now."""
        return self._younger[-1] if self._younger else ""

    @property
    def has_older(self) -> bool:
        """Whether an older hub's process serves."""
        return bool(self._older)

    def older_serving(self, resource: str) -> str:
        """An older hub that serves the resource too; empty where none does."""
        return next((name for name in self._older if self._serves(name, resource)), "")

    def newer_serving(self, resource: str) -> str:
        """A younger hub that serves the resource too; empty where none does."""
        return next((name for name in self._younger if self._serves(name, resource)), "")

    def _serves(self, hub: str, resource: str) -> bool:
        return is_served(self._plugin_dir / socket_name(resource, hub, self._plugin_dir))
