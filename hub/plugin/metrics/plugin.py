"""The metrics of a plugin's own: asked for in a thread, and checked before they reach anybody else."""

import asyncio
import re
from collections.abc import Callable, Iterable

import msgspec

from hub.api.metrics import Histogram, Kind, Metric
from hub.api.plugin import Plugin, overrides
from hub.base.calls import Calls
from hub.base.log import get_logger

SAMPLES = 1000
"""The most values of one plugin: Prometheus keeps a time series for each."""

_NAME = re.compile("[a-z][a-z0-9_]*")
_LABEL = re.compile("[a-z][a-z0-9_]*")
_RESERVED = ("plugin", "le")
"""What the hub and Prometheus add."""

_FORMS = "a histogram has a hub.Histogram with a count more than bounds, and all else has numbers"


class PluginMetrics:
    """What a plugin counts and measures, as it last told; one that does not answer is not asked again meanwhile.

    Args:
        plugin: Who is asked.
        changed: Called when there is an answer.
    """

    def __init__(self, plugin: Plugin, changed: Callable[[], None]) -> None:
        self._plugin = plugin
        self._changed = changed
        self._calls = Calls()
        self._answer: asyncio.Future[tuple[Metric, ...]] | None = None
        self._failure = ""
        self._log = get_logger()
        self.latest: tuple[Metric, ...] = ()

    def refresh(self) -> None:
        """Ask anew."""
        if self._answer is None and overrides(self._plugin, "metrics"):
            self._answer = self._calls.start(self._plugin.metrics, lambda: checked_metrics(self._plugin.metrics()))
            self._answer.add_done_callback(self._take)

    def _take(self, answer: asyncio.Future[tuple[Metric, ...]]) -> None:
        self._answer = None
        if answer.cancelled():
            return
        error = answer.exception()
        failure = str(error) if error else ""
        if failure and failure != self._failure:
            # What cannot be measured keeps no device from being used.
            self._log.error("plugin metrics invalid", reason=failure)
        self._failure = failure
        self.latest = () if error else answer.result()
        self._changed()


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
    """The metric as it will be read.

    Plugins are foreign code, and what cannot be written or read again would be missed of the whole process.
    """
    if not isinstance(metric, Metric):
        raise ValueError(f"metrics: {metric!r} is no hub.Metric")  # noqa: TRY004 - one error for all that is wrong
    try:
        read: Metric = msgspec.json.decode(msgspec.json.encode(metric), type=Metric)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"metrics: {getattr(metric, 'name', '?')!r}: {error}") from None
    if problem := _problem(read):
        raise ValueError(f"metrics: {problem}")
    return read


def _problem(metric: Metric) -> str:
    if not _NAME.fullmatch(metric.name):
        return f"{metric.name!r} is no name, expected small letters, digits and underscores"
    if (metric.kind is Kind.COUNTER) != metric.name.endswith("_total"):
        return f"{metric.name}: a counter ends in _total, and nothing else does"
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
