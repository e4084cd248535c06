"""The hub's report: the hub itself, and the processes of its plugins."""

import os
import time

from hub._version import __version__
from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import kubelet_identity
from hub.base.statusfile import StatusFile
from hub.base.tasks import Tasks
from hub.base.ticks import sleep_until_tick
from hub.model.hub import HubReport, InstanceReport
from hub.supervisor.config.watchers import PluginConfig
from hub.supervisor.processrecord import ProcessRecord
from hub.supervisor.settings import HubSettings

NODE_NAME_VARIABLE = "DPHUB_NODE_NAME"
"""The variable with the node's name in Kubernetes, because the host name in a pod is the pod's name."""

KEEP_SECONDS = 5.0
"""Seconds between checks that the file still exists."""


class HubReporter:
    """Collects what happens in the hub, and writes the report.

    Args:
        settings: The settings of the hub.

    Attributes:
        tasks: The hub's own tasks, whose failures are in the report.
    """

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
        self._started = time.time()
        self._http = ""
        self._http_error = ""
        self._kubelet_starts = 0
        self._kubelet_unresponsive = False
        self._config_error = ""
        self._records: dict[str, ProcessRecord] = {}
        self._removed: dict[str, ProcessRecord] = {}
        self._file = StatusFile(settings.run_dir.hub_report, self._build)
        self.tasks = Tasks(self._file)

    def record(self, plugin: PluginConfig) -> ProcessRecord:
        """Return the record of a plugin's processes; it survives a change to the plugin's configuration."""
        known = self._removed.pop(plugin.name, None)
        record = known or ProcessRecord(plugin.name, self._file, wanted=plugin.autostart)
        record.set_is_hub_plugin(value=plugin.is_hub_plugin)
        return self._records.setdefault(plugin.name, record)

    def forget(self, plugin: str) -> None:
        """Remove a plugin from the report; its record is kept in case the plugin is added again."""
        self._removed[plugin] = self._records.pop(plugin)
        self.mark_changed()

    def listening(self, http: str, problem: str = "") -> None:
        """Record where the hub listens for HTTP, or why it cannot."""
        self._http, self._http_error = http, problem
        self.write()

    def kubelet_started(self) -> None:
        """Count a start of the kubelet."""
        self._kubelet_starts += 1
        self.mark_changed()

    def kubelet_responds(self, *, responding: bool) -> None:
        """Record whether the kubelet is listening on its socket."""
        self._kubelet_unresponsive = not responding
        self.mark_changed()

    def config_rejected(self, problem: str) -> None:
        """Record why the last reload was rejected, or, without a problem, that it succeeded."""
        self._config_error = problem
        # Written now, because a client that requested the reload reads the file after the response.
        self.write()

    async def restore(self) -> None:
        """Write the file again whenever it has been removed or replaced, until cancelled."""
        while True:
            await sleep_until_tick(KEEP_SECONDS)
            self._file.restore()

    def mark_changed(self) -> None:
        """Write the file soon."""
        self._file.mark_changed()

    def write(self) -> None:
        """Write the file now."""
        self._file.write()

    def _build(self) -> InstanceReport:
        return InstanceReport(self._hub(), tuple(record.state for record in self._records.values()))

    def _hub(self) -> HubReport:
        kubelet = kubelet_identity(self._settings.plugin_dir / KUBELET_SOCKET)
        return HubReport(
            version=__version__,
            pid=os.getpid(),
            started=self._started,
            instance=self._settings.run_dir.instance,
            config=str(self._settings.config),
            plugin_dir=str(self._settings.plugin_dir),
            directory=str(self._settings.config.parent),
            http=self._http,
            http_error=self._http_error,
            kubelet_since=kubelet[2] / 1e9 if kubelet and not self._kubelet_unresponsive else 0,
            kubelet_unresponsive=self._kubelet_unresponsive,
            kubelet_starts=self._kubelet_starts,
            config_error=self._config_error,
            failures=dict(self.tasks.failures),
            node=os.environ.get(NODE_NAME_VARIABLE) or os.uname().nodename,
        )
