"""Problems with a GPU: what AMD's metrics exporter reports, debounced, and partitions that do not fit its mode."""

import time
from collections.abc import Callable, Collection, Mapping

from hub import Host, ServiceError
from plugins.amd.discovery.exporter import unhealthy_devices
from plugins.amd.discovery.facts import Gpu
from plugins.amd.settings import HealthRules

PARTITIONS = {"spx": 1, "dpx": 2, "tpx": 3, "qpx": 4}
"""The number of partitions in each compute mode. In mode cpx it depends on the card, and is at least two."""

KEPT = 300.0
"""Seconds for which reports count when the exporter no longer answers, for example because it is being updated."""

REPORTED = "the metrics exporter reports it as unhealthy"


class Reports:
    """The GPUs that the exporter reports as unhealthy. Scans read it while the watch updates it in its own thread.

    Args:
        unhealthy_after: Seconds for which a GPU must be reported before the report takes effect.
        clock: A monotonic clock in seconds.
    """

    def __init__(self, unhealthy_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._unhealthy_after = unhealthy_after
        self._clock = clock
        self._since: Mapping[str, float] = {}
        """When each GPU was first reported. Replaced as a whole."""
        self._answered: float | None = None

    def update(self, unhealthy: Collection[str]) -> None:
        """Record a response from the exporter. Reports in the first one count at once, since their age is unknown."""
        now = self._clock()
        first = float("-inf") if self._answered is None else now
        self._since = {name: self._since.get(name, first) for name in unhealthy}
        self._answered = now

    def expire(self) -> None:
        """Forget the reports if the exporter has not answered for too long."""
        if self._answered is not None and self._clock() - self._answered >= KEPT:
            self._since, self._answered = {}, None

    def unhealthy(self) -> frozenset[str]:
        """Return the names of the GPUs whose reports are in effect."""
        now = self._clock()
        return frozenset(name for name, since in self._since.items() if now - since >= self._unhealthy_after)

    def fault(self, gpu: Gpu) -> str:
        """Return why a GPU cannot be used; empty if it can."""
        return "" if self.unhealthy().isdisjoint(gpu.names) else REPORTED


class Exporter:
    """A client that queries the metrics exporter at intervals.

    Args:
        host: The node's file system.
        rules: The settings.
    """

    def __init__(self, host: Host, rules: HealthRules) -> None:
        self.reports = Reports(rules.unhealthy_after)
        self.problem = ""
        """Why the exporter sends no reports although it should; empty if it does, or if there is no exporter."""
        self._socket = host.path(rules.exporter) if rules.exporter else None
        self._interval = rules.interval
        self._next = 0.0

    def poll(self) -> object:
        """Query the exporter if that is due, and return a value that changes when its reports do."""
        if time.monotonic() >= self._next:
            self._ask()
            self._next = time.monotonic() + self._interval
        return self.reports.unhealthy(), bool(self.problem)

    def _ask(self) -> None:
        problem = ""
        try:
            if self._socket and self._socket.is_socket():
                self.reports.update(unhealthy_devices(self._socket))
        except (ServiceError, OSError) as error:
            problem = str(error)
        self.reports.expire()
        self.problem = problem


def warning(gpu: Gpu) -> str:
    """Return what is wrong with a GPU that can be used; empty if nothing is."""
    mode, count = gpu.card.compute, gpu.partitions
    expected = str(PARTITIONS.get(mode, "")) or ("2 or more" if mode == "cpx" else "")
    if not expected or count == PARTITIONS.get(mode) or (mode == "cpx" and count > 1):
        return ""
    return f"its card is in mode {mode.upper()}, but KFD lists {count} of its partitions, expected {expected}"
