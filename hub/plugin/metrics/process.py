"""What a plugin process counts and measures about itself."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hub.api.metrics import Histogram, Kind, Metric, Sample

_Labels = tuple[tuple[str, str], ...]


class Call:
    """A call from the kubelet that is being answered.

    Attributes:
        code: The name of the status code of its response.
    """

    def __init__(self) -> None:
        self.code = "OK"


class ProcessMetrics:
    """The metrics of one plugin process; they count from its start, except for the time for which devices are in use.

    Attributes:
        pending: The number of calls that are being answered now, without ListAndWatch, which does not end.
    """

    def __init__(self) -> None:
        self.pending = 0
        self._calls: defaultdict[_Labels, Histogram] = defaultdict(Histogram)
        self._lists: Counter[_Labels] = Counter()
        self._transitions: Counter[_Labels] = Counter()
        self._registrations: defaultdict[_Labels, Histogram] = defaultdict(Histogram)
        self._held_seconds: Mapping[_Labels, float] = {}
        self._resets: defaultdict[_Labels, Histogram] = defaultdict(Histogram)
        self._scans = Histogram()
        self._claims: Mapping[_Labels, float] = {}
        self._rejected_claims = 0

    @contextmanager
    def call(self, method: str) -> Iterator[Call]:
        """Measure one call; code that answers it with an error sets `Call.code`."""
        call, begin = Call(), time.perf_counter()
        self.pending += method != "ListAndWatch"
        try:
            yield call
        except BaseException as error:
            if call.code == "OK":
                cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
                call.code = "CANCELLED" if cancelled else "UNKNOWN"
            raise
        finally:
            self.pending -= method != "ListAndWatch"
            labels = (("method", method), ("code", call.code))
            self._calls[labels].observe(time.perf_counter() - begin)

    def list_sent(self, resource: str) -> None:
        """Count a list of devices that was sent to the kubelet."""
        self._lists[("resource", resource),] += 1

    def health_changed(self, resource: str, *, healthy: bool, source: str) -> None:
        """Count a device that became healthy or unhealthy, by the source of the change."""
        health = "healthy" if healthy else "unhealthy"
        self._transitions[("resource", resource), ("health", health), ("source", source)] += 1

    def registered(self, resource: str, seconds: float) -> None:
        """Measure a registration, in seconds since the moment it became possible."""
        self._registrations[("resource", resource),].observe(seconds)

    def set_held_seconds(self, seconds: Mapping[tuple[str, str], int]) -> None:
        """Set the time for which containers have used devices, by resource and namespace."""
        self._held_seconds = {
            (("resource", resource), ("namespace", namespace)): float(held)
            for (resource, namespace), held in seconds.items()
        }

    def reset_ended(self, outcome: str, seconds: float) -> None:
        """Measure a reset, by outcome only: a physical device may belong to several resources."""
        self._resets[("outcome", outcome),].observe(seconds)

    def scan_ended(self, seconds: float) -> None:
        """Measure a scan."""
        self._scans.observe(seconds)

    def set_claims(self, claims: Mapping[str, int]) -> None:
        """Set the number of claims that hold devices, by state."""
        self._claims = {(("state", state),): float(count) for state, count in claims.items()}

    def claim_rejected(self) -> None:
        """Count a claim that was not prepared, or not released."""
        self._rejected_claims += 1

    def metrics(self) -> list[Metric]:
        """Return all metrics; those about claims are included only with dynamic resource allocation."""
        return [*self._of_every_process(), *self._of_claims()]

    def _of_claims(self) -> Iterator[Metric]:
        if self._claims:
            samples = [Sample(value, dict(labels)) for labels, value in self._claims.items()]
            yield Metric("dphub_claims", "Claims that hold devices, by state.", samples, Kind.GAUGE)
            text = "Times that a claim was not prepared or not released."
            yield _metric("dphub_claims_rejected_total", text, {(): float(self._rejected_claims)})

    def _of_every_process(self) -> list[Metric]:
        return [
            _metric("dphub_rpc_duration_seconds", "Calls from the kubelet, by method and status code.", self._calls),
            _metric("dphub_list_and_watch_responses_total", "Device lists sent to the kubelet.", self._lists),
            _metric(
                "dphub_device_health_transitions_total",
                "Devices that became healthy or unhealthy, by source.",
                self._transitions,
            ),
            _metric(
                "dphub_registration_duration_seconds",
                "Time from the start of the kubelet, or of the plugin if later, until a resource was registered.",
                self._registrations,
            ),
            _metric(
                "dphub_device_held_seconds_total",
                "Time for which containers used devices, by namespace, summed over the devices.",
                self._held_seconds,
            ),
            _metric("dphub_reset_duration_seconds", "Resets of devices, by outcome.", self._resets),
            _metric("dphub_scan_duration_seconds", "Scans of the hardware.", {(): self._scans}),
        ]


def _metric(name: str, text: str, values: Mapping[_Labels, float | Histogram]) -> Metric:
    samples = [Sample(value, dict(labels)) for labels, value in values.items()]
    kind = Kind.COUNTER if name.endswith("_total") else Kind.HISTOGRAM
    return Metric(name, text, samples, kind)
