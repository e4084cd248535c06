"""The hub's own state file: what the hub is, and what it sees of its plugins' processes."""

import asyncio
import os
import time
from pathlib import Path

from hub._version import __version__
from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import kubelet_identity
from hub.base.statusfile import StatusFile
from hub.model.hub import HubReport
from hub.supervisor.config.watchers import PluginConfig
from hub.supervisor.options import HubSettings
from hub.supervisor.processrecord import ProcessRecord

NODE_NAME_VARIABLE = "DPHUB_NODE_NAME"
"""The node's name in Kubernetes; in a pod the host's name is the pod's."""

KEEP_SECONDS = 2.0
"""Between two looks whether the file is still there."""


class HubReporter:
    """Keeps the state file in step with what it is told.

    Args:
        settings: The hub.
    """

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
        self._started = time.time()
        self._http = ""
        self._http_problem = ""
        self._kubelet_starts = 0
        self._kubelet_unresponsive = False
        self._failures: dict[str, str] = {}
        self._config_problem = ""
        self._records: dict[str, ProcessRecord] = {}
        self._gone: dict[str, ProcessRecord] = {}
        self._file = StatusFile(settings.run_dir.hub_report, self._state)

    def record(self, plugin: PluginConfig) -> ProcessRecord:
        """What is remembered of a plugin's processes; one whose configuration changes keeps its past."""
        known = self._gone.pop(plugin.name, None)
        record = known or ProcessRecord(plugin.name, self._file, wanted=plugin.autostart)
        record.is_of(hub_plugin=plugin.is_hub_plugin)
        return self._records.setdefault(plugin.name, record)

    def forget(self, plugin: str) -> None:
        """There is no such plugin any more, unless it comes back."""
        self._gone[plugin] = self._records.pop(plugin)
        self.mark_changed()

    def listening(self, http: str, problem: str = "") -> None:
        """The hub listens there for HTTP, or cannot, and why."""
        self._http, self._http_problem = http, problem
        self.write()

    def kubelet_started(self) -> None:
        """The hub has seen a kubelet start."""
        self._kubelet_starts += 1
        self.mark_changed()

    def kubelet_responds(self, *, yes: bool) -> None:
        """Record whether the kubelet listens on its socket."""
        self._kubelet_unresponsive = not yes
        self.mark_changed()

    def task_failed(self, part: str, how: str) -> None:
        """A part of the hub has failed, and is started anew; or it works again, where nothing is said."""
        if how:
            self._failures[part] = how
        else:
            self._failures.pop(part, None)
        self.mark_changed()

    def config_rejected(self, problem: str) -> None:
        """A reload was refused for this reason, or taken where there is none."""
        self._config_problem = problem
        # Now: who asked for the reload reads the file when it has its answer.
        self.write()

    async def restore(self) -> None:
        """Write the file again, for ever, where somebody has taken it away."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            self._file.restore()

    def mark_changed(self) -> None:
        """Write the file soon."""
        self._file.mark_changed()

    def write(self) -> None:
        """Write the file now."""
        self._file.write()

    def _state(self) -> HubReport:
        kubelet = kubelet_identity(self._settings.plugin_dir / KUBELET_SOCKET)
        return HubReport(
            version=__version__,
            pid=os.getpid(),
            started=self._started,
            instance=self._settings.run_dir.instance,
            config=str(self._settings.config),
            plugin_dir=str(self._settings.plugin_dir),
            directory=str(Path.cwd()),
            http=self._http,
            http_error=self._http_problem,
            kubelet_since=kubelet[2] / 1e9 if kubelet and not self._kubelet_unresponsive else 0,
            kubelet_unresponsive=self._kubelet_unresponsive,
            kubelet_starts=self._kubelet_starts,
            config_error=self._config_problem,
            failures=dict(self._failures),
            processes=tuple(record.state for record in self._records.values()),
            node=os.environ.get(NODE_NAME_VARIABLE) or os.uname().nodename,
        )
