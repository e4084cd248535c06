"""The MPS control daemons: one for each resource shared by MPS, kept running."""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from hub import ProgramFailed, Runtime, SupervisedThread
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.mps.daemon import MpsDaemon, MpsLimits, clients_problem
from plugins.gpu.mps.records import MpsRecords
from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import GPUSettings

if TYPE_CHECKING:
    from plugins.gpu.discovery.facts import Gpu

INTERVAL = 2.0
"""Seconds between checks that the daemons are running."""

FIRST_RESULT_TIMEOUT = 1.0
"""Seconds that a scan waits for the first result. A daemon that is already running answers within that time."""


def impossible_resources(shares: Sequence[Share]) -> Mapping[str, str]:
    """Return the resources that MPS cannot serve on their GPUs, and why."""
    return {
        share.resource: problem
        for share in shares
        if share.sharing is Sharing.MPS and (problem := clients_problem(share.gpu, share.replicas))
    }


class MpsDaemons:
    """A thread that starts and stops daemons as the shares require: NVIDIA's program may be slow.

    Args:
        settings: The plugin's settings, which name the daemons' directory.
        paths: Where the driver is.
        runtime: Where the records of the daemons are.
        changed: Called when the health of a daemon has changed.
    """

    def __init__(
        self, settings: GPUSettings, paths: DriverPaths, runtime: Runtime, changed: Callable[[], None]
    ) -> None:
        self._root = settings.flags.mps_root
        self._paths = paths
        self._records = MpsRecords(runtime)
        self._changed = changed
        self._wanted: Mapping[str, MpsLimits] = {}
        self._reasons: dict[str, str] = {}
        self._round_over = threading.Event()
        self._awake = threading.Event()
        self._thread = SupervisedThread("mps", self._run)
        self._log = structlog.get_logger()

    def ensure(self, shares: Sequence[Share]) -> Mapping[str, str | None]:
        """Set the shares that are now advertised, and return the state of their daemons within `FIRST_RESULT_TIMEOUT`.

        Returns:
            By resource, why its daemon does not work; empty if it does, None if that is not known yet. Resources that
            MPS cannot serve have no daemon.
        """
        gpus: defaultdict[str, dict[str, Gpu]] = defaultdict(dict)
        replicas: dict[str, int] = {}
        for share in shares:
            if share.sharing is Sharing.MPS:
                gpus[share.resource][share.uuid] = share.gpu
                replicas[share.resource] = share.replicas
        impossible = impossible_resources(shares)
        self._set_wanted(
            {
                resource: MpsLimits.of(list(found.values()), replicas[resource])
                for resource, found in gpus.items()
                if resource not in impossible
            }
        )
        return {resource: self._reason(resource) for resource in self._wanted}

    def _reason(self, resource: str) -> str | None:
        known = self._reasons.get(resource)
        return f"MPS: {self._thread.failure}" if known is None and self._thread.failure else known

    def _set_wanted(self, wanted: Mapping[str, MpsLimits]) -> None:
        changed, self._wanted = wanted != self._wanted, wanted
        if changed:
            self._round_over.clear()
        if not self._thread.is_started and (wanted or self._records.read()):
            self._thread.start()
        elif changed:
            self._awake.set()
        if changed and self._thread.is_started:
            self._round_over.wait(FIRST_RESULT_TIMEOUT)

    def _run(self) -> None:
        # The states are unknown until the first round is over, including when this thread restarts after a failure.
        self._reasons = {}
        while True:
            self._awake.clear()
            wanted, started = self._wanted, self._records.read()
            reasons = {
                resource: self._keep_running(resource, limits, started.get(resource))
                for resource, limits in wanted.items()
            }
            for resource, limits in started.items():
                if resource not in wanted:
                    self._quit(resource, limits)
            if reasons != self._reasons:
                self._log_reasons(reasons)
                self._reasons = reasons
                self._changed()
            if wanted == self._wanted:
                self._round_over.set()
            # Without daemons there is nothing to check until one is required.
            self._awake.wait(INTERVAL if wanted else None)

    def _log_reasons(self, reasons: Mapping[str, str]) -> None:
        for resource, reason in reasons.items():
            if reason and reason != self._reasons.get(resource):
                self._log.warning("mps failed", resource=resource, reason=reason)

    def _keep_running(self, resource: str, limits: MpsLimits, known: MpsLimits | None) -> str:
        """Start a daemon, or change its known limits, if needed; return why that failed, or an empty string."""
        daemon = MpsDaemon(self._paths, self._root, resource)
        try:
            if not daemon.is_running():
                daemon.start(limits)
            elif known == limits:
                return ""
            else:
                daemon.set_limits(limits)
            self._records.set(resource, limits)
        except (ProgramFailed, OSError) as failed:
            return f"MPS: {failed}"
        return ""

    def _quit(self, resource: str, limits: MpsLimits) -> None:
        try:
            MpsDaemon(self._paths, self._root, resource).quit(limits)
            self._records.set(resource, None)
        except (ProgramFailed, OSError) as failed:
            self._log.warning("mps daemon not stopped", resource=resource, reason=str(failed))
