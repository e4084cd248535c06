"""The metrics of a plugin, checked before they reach anybody else."""

import re
from collections.abc import Iterable

from hub.metric import Kind, Metric

SAMPLES = 1000
"""The most values of one plugin: Prometheus keeps a time series for each."""

_NAME = re.compile("[a-z][a-z0-9_]*")
_LABEL = re.compile("[a-z][a-z0-9_]*")
_OURS = "plugin"


def checked_metrics(offered: Iterable[object]) -> tuple[Metric, ...]:
    """What a plugin offers.

    Raises:
        ValueError: Prometheus would not take it; the text says what.
    """
    metrics = tuple(_checked(metric) for metric in offered)
    count = sum(len(metric.samples) for metric in metrics)
    if count > SAMPLES:
        raise ValueError(f"metrics: {count} values, expected {SAMPLES} at most")
    return metrics


def _checked(metric: object) -> Metric:
    if not isinstance(metric, Metric):
        raise ValueError(f"metrics: {metric!r} is no hub.Metric")  # noqa: TRY004 - one error for all that is wrong
    if problem := _problem(metric):
        raise ValueError(f"metrics: {problem}")
    return metric


def _problem(metric: Metric) -> str:
    if not _NAME.fullmatch(metric.name):
        return f"{metric.name!r} is no name, expected small letters, digits and underscores"
    if (metric.kind is Kind.COUNTER) != metric.name.endswith("_total"):
        return f"{metric.name}: a counter ends in _total, and nothing else does"
    labels = {label for sample in metric.samples for label in sample.labels}
    bad = sorted(label for label in labels if label == _OURS or not _LABEL.fullmatch(label))
    return f"{metric.name}: {bad[0]!r} cannot be a label" if bad else ""
