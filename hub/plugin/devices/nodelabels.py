"""Node labels: those of the plugin, and whether its devices are healthy, in a file for Node Feature Discovery.

The file is written when its content changes, and stays while the plugin is restarting, so labels do not come and go.
When a process stops, it lets the labels expire instead of removing them: only another process can know whether the
plugin comes back, and whether it then writes labels.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from hub.base.featurefiles import (
    MAX_BYTES,
    expiring_text,
    feature_file,
    features_text,
    health_labels,
    is_health_label,
    label_problem,
    read_features,
)
from hub.base.jsonfile import replace_bytes
from hub.base.log import get_logger
from hub.base.untrusted import UnreadableError, read_text
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.scan import Scan
from hub.plugin.health.keys import physical_key
from hub.plugin.ownership import Ownership, Role

HEALTHY, DEGRADED, UNHEALTHY = "healthy", "degraded", "unhealthy"


class NodeLabels:
    """Keeps the feature file of one plugin up to date.

    Args:
        directory: Where Node Feature Discovery reads; None for no labels.
        plugin: The plugin's name.
        inventory: Its devices, with their health.
        ownership: Whether another hub's plugin has the devices: only one may write.
    """

    def __init__(self, directory: Path | None, plugin: str, inventory: Inventory, ownership: Ownership) -> None:
        self._path = feature_file(directory, plugin) if directory else None
        self._health_names = health_labels(plugin)
        self._inventory = inventory
        self._ownership = ownership
        # The labels that an earlier process found stay valid while the scans of this process fail.
        self._labels: Mapping[str, str] = self._read_earlier()
        self._problem = ""
        self._failure = ""
        self._evaluated: object = None
        self._current: Mapping[str, str] = {}
        self._log = get_logger()

    @property
    def enabled(self) -> bool:
        """Whether the hub writes labels."""
        return self._path is not None

    def update(self, scan: Scan) -> None:
        """Take the labels of a scan, and write those that have changed."""
        problem = scan.labels.problem
        if problem and problem != self._problem:
            self._log.error("plugin labels invalid", reason=problem)
        self._problem = problem
        if scan.labels.labels is not None:
            self._labels = scan.labels.labels
        self.refresh()

    def refresh(self) -> None:
        """Write the file if the health of devices has changed, or if the file was removed or changed."""
        if self._inventory.scanned and self._ownership.role is Role.ACTIVE:
            self._replace(features_text(labels) if (labels := self._all_labels()) else "")

    def expire_earlier(self) -> None:
        """Let the labels of an earlier process that crashed expire unless a scan of this process follows."""
        if not (self._ownership.older or self._ownership.newer):
            self.expire()

    def expire(self) -> None:
        """Let the labels expire: this process is stopping.

        Another hub's plugin that has the devices, and writes labels too, removes their expiry time at its next check.
        """
        self._replace(expiring_text(self._read()))

    def _all_labels(self) -> Mapping[str, str]:
        """Return the current labels; the devices are evaluated only after a change."""
        inventory = self._inventory
        state = inventory.changes.number, inventory.fault, self._labels
        if state != self._evaluated:
            self._evaluated = state
            self._current = {**self._labels, **self._health_labels()}
        return self._current

    def _health_labels(self) -> Mapping[str, str]:
        """Return the labels about health; none on a node without such devices."""
        healthy: dict[str, bool] = {}
        for resource in self._inventory:
            for name, device in resource.list.devices.items():
                key = physical_key(resource.name, device)
                healthy[key] = healthy.get(key, True) and resource.list.is_healthy(name)
        if not healthy and not self._inventory.fault:
            return {}
        unhealthy = list(healthy.values()).count(False)
        everything = self._inventory.fault or unhealthy == len(healthy)
        state = UNHEALTHY if everything else DEGRADED if unhealthy else HEALTHY
        found = zip(self._health_names, (state, str(unhealthy)), strict=True)
        # The name of a plugin may be too long for the name of a label.
        return {name: value for name, value in found if not label_problem(name, value)}

    def _replace(self, text: str) -> None:
        """Set the content of the file; remove the file if the text is empty. A failure is logged once."""
        path = self._path
        if path is None or self._read() == text:
            return
        try:
            if text:
                # Node Feature Discovery reads it as an unprivileged user.
                replace_bytes(path, text.encode(), mode=0o644)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            self._log_failure(path, error)
        else:
            self._failure = ""

    def _log_failure(self, path: Path, error: OSError) -> None:
        missing = f"{path.parent} does not exist: create it, or in a pod mount the node's"
        # pathlib is not used: it may raise an error itself.
        failure = str(error) if os.path.isdir(path.parent) else missing  # noqa: PTH112 - see above
        if failure != self._failure:
            self._log.error("file not written", file=str(path), reason=failure)
        self._failure = failure

    def _read(self) -> str:
        """Return the content of the file; empty if the file cannot be read."""
        try:
            return read_text(self._path, max_bytes=MAX_BYTES) if self._path else ""
        except UnreadableError:
            return ""

    def _read_earlier(self) -> Mapping[str, str]:
        found = read_features(self._read())
        return {name: value for name, value in found.items() if not is_health_label(name)}
