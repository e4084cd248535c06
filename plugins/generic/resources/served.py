"""The resources of files that may be missing now, kept across restarts: pods may still request them by name."""

from collections.abc import Mapping

import structlog

from hub import Runtime, UnreadableError


class ServedFiles:
    """A record of which resource belongs to which file.

    Args:
        runtime: Where to keep the names across restarts of the plugin.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._path = runtime.node_path("resources.json") if runtime else None
        self._log = structlog.get_logger()
        self.files = self._kept = self._read()
        """The paths below /dev, by resource."""

    def add(self, files: Mapping[str, str]) -> None:
        """Remember the resources of these files."""
        self.files = {**self.files, **files}

    def save(self) -> None:
        """Keep the names across restarts of the plugin."""
        if not self._path or self.files == self._kept:
            return
        self._kept = self.files
        try:
            self._runtime.write(self._path, self.files)
        except OSError as error:
            self._log.error("file not written", file=str(self._path), reason=str(error))

    def _read(self) -> dict[str, str]:
        try:
            return (self._runtime.read(self._path, dict[str, str]) or {}) if self._path else {}
        except UnreadableError as error:
            self._log.warning("resources file unreadable", reason=str(error))
            return {}
