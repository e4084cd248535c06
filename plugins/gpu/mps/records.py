"""Which MPS daemons the plugin has started, and with which limits.

The daemons outlive the plugin, so it must find them again. Their directories are not a reliable source, because
containers can write to some of them.
"""

from collections.abc import Mapping

import structlog

from hub import Runtime, UnreadableError
from plugins.gpu.mps.daemon import MpsLimits

FILE = "mps.json"
"""The name of the file in the run directory."""


class MpsRecords:
    """The limits that were last set, by resource; kept in the run directory, which only its owner can enter.

    Args:
        runtime: Where the file is; if there is no run directory, the records end with the process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._path = runtime.node_path(FILE)
        self._kept: Mapping[str, MpsLimits] = {}
        self._log = structlog.get_logger()

    def read(self) -> Mapping[str, MpsLimits]:
        """Return the limits of all daemons that were started and not stopped."""
        if self._runtime:
            try:
                self._kept = self._runtime.read(self._path, dict[str, MpsLimits]) or {}
            except UnreadableError as error:
                self._log.warning("mps records unreadable", reason=str(error))
        return self._kept

    def set(self, resource: str, limits: MpsLimits | None) -> None:
        """Record the limits of a daemon or, if they are None, that it was stopped.

        Raises:
            OSError: the file cannot be written.
        """
        kept = {name: known for name, known in self.read().items() if name != resource}
        self._kept = kept | {resource: limits} if limits else kept
        if self._runtime:
            self._runtime.write(self._path, self._kept)
