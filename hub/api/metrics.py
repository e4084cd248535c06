"""Figures that a process counts or measures, on their way to Prometheus.

A process keeps them in plain values and writes them into its pulse; the hub makes Prometheus's text of all of them. So
one process answers the scrapes, and the client library is loaded once. The figures of a process go with it, and those
of the next one begin at zero.
"""

import bisect
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds for how long things take: from a half millisecond to the deadline of the kubelet's slowest call."""


class Histogram(msgspec.Struct):
    """How often something took how long."""

    bounds: tuple[float, ...] = SECONDS
    """Upper bounds of the buckets."""
    counts: list[int] = []
    """For each bound, and for what is above all."""
    sum: float = 0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value


class Kind(StrEnum):
    """What a metric's values are."""

    GAUGE = "gauge"
    """It goes up and down."""
    COUNTER = "counter"
    """It counts up from the start of the process. Its name ends in `_total`."""
    HISTOGRAM = "histogram"


class Sample(msgspec.Struct, frozen=True):
    """One value of a metric."""

    value: float | Histogram
    labels: Mapping[str, str] = {}


class Metric(msgspec.Struct, frozen=True):
    """A figure, or several that differ in their labels.

    Args:
        name: As Prometheus has names: small letters and underscores, the unit at the end, `_total` after it where the
            metric counts.
        help: What it means, in a line.
        samples: Its values. The hub adds the label `plugin`.
        kind: What they are.
    """

    name: str
    help: str
    samples: Sequence[Sample] = ()
    kind: Kind = Kind.GAUGE
