"""The control daemons of MPS: one for each resource that is shared so, kept alive."""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.mps.daemon import MpsDaemon, MpsLimits, why_too_many
from plugins.gpu.nvml.programs import ProgramFailed
from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import GPUSettings

if TYPE_CHECKING:
    from plugins.gpu.discovery.facts import Gpu

INTERVAL = 2.0
"""Seconds between two questions whether the daemons live."""

STOP_TIMEOUT = 1.0
"""Seconds that a scan waits for the first word of the daemons. One that runs already answers within that."""


class MpsDaemons:
    """Brings the daemons in step with what is shared, in a thread of its own: NVIDIA's program may take its time.

    Args:
        settings: Where their directory is.
        places: Where the driver is.
        changed: Called when the health of a daemon has changed.
    """

    def __init__(self, settings: GPUSettings, places: DriverPaths, changed: Callable[[], None]) -> None:
        self._root = settings.flags.mps_root
        self._places = places
        self._changed = changed
        self._wanted: Mapping[str, MpsLimits] = {}
        self._reasons: dict[str, str] = {}
        self._round_over = threading.Event()
        self._awake = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = structlog.get_logger()

    def ensure(self, shares: Sequence[Share]) -> Mapping[str, str | None]:
        """Say what is shared now, and hear what of it does not work, by resource: a reason, or None while it is begun.

        Returns within `PATIENCE`.
        """
        gpus: defaultdict[str, dict[str, Gpu]] = defaultdict(dict)
        replicas: dict[str, int] = {}
        for share in shares:
            if share.sharing is Sharing.MPS:
                gpus[share.resource][share.uuid] = share.gpu
                replicas[share.resource] = share.replicas
        impossible = {
            resource: why
            for resource, found in gpus.items()
            if (why := next(filter(None, (why_too_many(gpu, replicas[resource]) for gpu in found.values())), ""))
        }
        self._want(
            {
                resource: MpsLimits.of(list(found.values()), replicas[resource])
                for resource, found in gpus.items()
                if resource not in impossible
            }
        )
        return impossible | {resource: self._reasons.get(resource) for resource in self._wanted}

    def _want(self, wanted: Mapping[str, MpsLimits]) -> None:
        changed, self._wanted = wanted != self._wanted, wanted
        if changed:
            self._round_over.clear()
        if self._thread is None and (wanted or self._left_over()):
            self._thread = threading.Thread(target=self._keep, name="mps", daemon=True)
            self._thread.start()
        elif changed:
            self._awake.set()
        if changed and self._thread:
            self._round_over.wait(STOP_TIMEOUT)

    def _keep(self) -> None:
        while True:
            self._awake.clear()
            wanted = self._wanted
            reasons = {resource: self._see_to(resource, limits) for resource, limits in wanted.items()}
            for resource in self._left_over() - wanted.keys():
                self._end(resource)
            if reasons != self._reasons:
                self._tell(reasons)
                self._reasons = reasons
                self._changed()
            if wanted == self._wanted:
                self._round_over.set()
            # Without daemons there is nothing to look after until somebody wants one.
            self._awake.wait(INTERVAL if wanted else None)

    def _tell(self, reasons: Mapping[str, str]) -> None:
        for resource, reason in reasons.items():
            if reason and reason != self._reasons.get(resource):
                self._log.warning("mps failed", resource=resource, reason=reason)

    def _see_to(self, resource: str, limits: MpsLimits) -> str:
        """Have the daemon run as it should; why it does not, if it does not."""
        control = MpsDaemon(self._places, self._root, resource)
        try:
            if not control.answers():
                control.start(limits)
            elif control.set_up != limits:
                control.limit(limits)
        except (ProgramFailed, OSError) as failed:
            return f"MPS: {failed}"
        return ""

    def _end(self, resource: str) -> None:
        try:
            MpsDaemon(self._places, self._root, resource).quit()
        except (ProgramFailed, OSError) as failed:
            self._log.warning("mps daemon not stopped", resource=resource, reason=str(failed))

    def _left_over(self) -> set[str]:
        """Resources whose daemons were started by us, in this process or an earlier one."""
        root = self._places.host.path(self._root)
        return {str(marker.parent.relative_to(root)) for marker in root.glob("*/*/.dphub")}
