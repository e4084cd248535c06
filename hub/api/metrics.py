"""Metrics of a process, in a form that can be written to a file.

A process keeps them as plain values and writes them into its heartbeat file; the hub renders all of them for
Prometheus. So one process answers the scrapes, and the client library is loaded once. The metrics of a process
disappear when it exits; those of the next process start at zero.
"""

import bisect
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from hub.base.untrusted import Integer

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of the buckets for durations: from half a millisecond to the timeout of the kubelet's slowest call."""

_NAME = re.compile("[a-z][a-z0-9_]*")
_LABEL = re.compile("[a-z][a-z0-9_]*")
_RESERVED = ("plugin", "le")
"""The labels that the hub and Prometheus add."""

_FORMS = (
    "the values of a histogram must be hub.Histogram objects with one more count than bounds; "
    "those of any other metric must be numbers"
)


class Histogram(msgspec.Struct):
    """The distribution of observed values, such as durations."""

    bounds: tuple[float, ...] = SECONDS
    """Upper bounds of the buckets."""
    counts: list[Integer] = []
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
        name: By Prometheus conventions: lower-case letters and underscores, the unit at the end, then `_total` for a
            counter.
        help: What it means, in one line.
        samples: Its values, which differ in their labels. The hub adds the label `plugin`.
        kind: The type of the metric.
    """

    name: str
    help: str
    samples: Sequence[Sample] = ()
    kind: Kind = Kind.GAUGE


def metric_problem(metric: Metric) -> str:
    """Return why Prometheus would not accept a metric; empty if it would."""
    if not _NAME.fullmatch(metric.name):
        return f"{metric.name!r} is not a valid name, expected lower-case letters, digits and underscores"
    if (metric.kind is Kind.COUNTER) != metric.name.endswith("_total"):
        return f"{metric.name}: the name of a counter must end in _total, and no other name may"
    labels = {label for sample in metric.samples for label in sample.labels}
    bad = sorted(label for label in labels if label in _RESERVED or not _LABEL.fullmatch(label))
    if bad:
        return f"{metric.name}: {bad[0]!r} cannot be a label"
    if len({tuple(sorted(sample.labels.items())) for sample in metric.samples}) < len(metric.samples):
        return f"{metric.name}: two values have the same labels"
    return "" if all(_fits(metric.kind, sample.value) for sample in metric.samples) else f"{metric.name}: {_FORMS}"


def _fits(kind: Kind, value: float | Histogram) -> bool:
    if isinstance(value, Histogram):
        return kind is Kind.HISTOGRAM and len(value.counts) == len(value.bounds) + 1
    return kind is not Kind.HISTOGRAM
