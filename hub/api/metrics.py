"""Metrics of a process, in a form that can be written to a file.

A process keeps them as plain values and writes them into its heartbeat file; the hub renders all of them for
Prometheus. So one process answers the scrapes, and the client library is loaded once. The metrics of a process end with
it; those of the next process begin at zero.
"""

import bisect
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of the buckets for durations: from half a millisecond to the timeout of the kubelet's slowest call."""


class Histogram(msgspec.Struct):
    """The distribution of observed values, such as durations."""

    bounds: tuple[float, ...] = SECONDS
    """Upper bounds of the buckets."""
    counts: list[int] = []
    """The number of values in each bucket, and above the last bound."""
    sum: float = 0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value


class Kind(StrEnum):
    """The type of a metric, as in Prometheus."""

    GAUGE = "gauge"
    """A value that can go up and down."""
    COUNTER = "counter"
    """A count since the start of the process; its name ends in `_total`."""
    HISTOGRAM = "histogram"


class Sample(msgspec.Struct, frozen=True):
    """One value of a metric."""

    value: float | Histogram
    labels: Mapping[str, str] = {}


class Metric(msgspec.Struct, frozen=True):
    """A metric with its values.

    Args:
        name: As is usual for Prometheus: lower-case letters and underscores, the unit at the end, then `_total` for a
            counter.
        help: What it means, in one line.
        samples: Its values, which differ in their labels. The hub adds the label `plugin`.
        kind: The type of the metric.
    """

    name: str
    help: str
    samples: Sequence[Sample] = ()
    kind: Kind = Kind.GAUGE
