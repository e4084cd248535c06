"""Other hubs on the node, during a rolling upgrade: the one that is to go, and the one that is to stay."""

from pathlib import Path

from hub.instances import living, newest_other
from hub.paths import RunDir, is_served
from hub.plugin.endpoint import socket_name


class Neighbours:
    """Other hubs, as of the last look.

    Args:
        run_dir: What all hubs of the node share, and which of them is ours; None for a plugin that was started by hand.
        plugin_dir: The kubelet's plugin directory.
    """

    def __init__(self, run_dir: RunDir | None, plugin_dir: Path) -> None:
        self._run_dir = run_dir
        self._plugin_dir = plugin_dir
        self.newest = 0
        """Since when the youngest other hub is there, or was, as `instances.now` tells the time."""
        self._older: list[str] = []
        self._younger: list[str] = []

    def look(self) -> None:
        """Find out who lives."""
        names = [hub.name for hub in living(self._run_dir)] if self._run_dir else []
        if self._run_dir and self._run_dir.instance in names:
            self.newest = newest_other(self._run_dir)
            own = names.index(self._run_dir.instance)
            self._older, self._younger = names[:own], names[own + 1 :]

    @property
    def heir(self) -> str:
        """The youngest hub, where that is another than ours: what belongs to the node is its business now."""
        return self._younger[-1] if self._younger else ""

    def predecessor(self, resource: str) -> str:
        """An older hub that serves the resource too; empty where none does."""
        return next((name for name in self._older if self._serves(name, resource)), "")

    def successor(self, resource: str) -> str:
        """A younger hub that serves the resource too; empty where none does."""
        return next((name for name in self._younger if self._serves(name, resource)), "")

    def _serves(self, hub: str, resource: str) -> bool:
        return is_served(self._plugin_dir / socket_name(resource, hub, self._plugin_dir))
