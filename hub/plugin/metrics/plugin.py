"""The plugin's own metrics: collected in a thread, and validated before they are written."""

import asyncio
from collections.abc import Iterable

import msgspec

from hub.api.metrics import Metric, metric_problem
from hub.api.plugin import Plugin, overrides
from hub.base.calls import Calls, at_most
from hub.base.log import get_logger
from hub.base.statusfile import StatusFile

SAMPLES = 1000
"""Maximum number of samples of one plugin, and of its metrics: Prometheus keeps a time series for each sample."""


class PluginMetrics:
    """Collects the metrics of a plugin. Never starts a second call while one is pending.

    Args:
        plugin: The plugin.
        file: Written when there are new metrics.

    Attributes:
        latest: The metrics that it last returned.
    """

    def __init__(self, plugin: Plugin, file: StatusFile) -> None:
        self.latest: tuple[Metric, ...] = ()
        self._plugin = plugin
        self._file = file
        self._answer: asyncio.Future[tuple[Metric, ...]] | None = None
        self._calls = Calls()
        self._failure = ""
        self._log = get_logger()

    def refresh(self) -> None:
        """Start a call, unless one is running."""
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
            # A failed measurement does not keep a device from being used.
            self._log.error("plugin metrics invalid", reason=failure)
        self._failure = failure
        latest = () if error else answer.result()
        if latest != self.latest:
            self.latest = latest
            self._file.mark_changed()


def checked_metrics(offered: Iterable[object]) -> tuple[Metric, ...]:
    """Validate what a plugin returned.

    Raises:
        ValueError: Prometheus would not accept it; the text says why.
    """
    metrics = tuple(_checked(metric) for metric in at_most(offered, SAMPLES, "metrics"))
    count = sum(len(metric.samples) for metric in metrics)
    if count > SAMPLES:
        raise ValueError(f"metrics: {count} values, expected at most {SAMPLES}")
    return metrics


def _checked(metric: object) -> Metric:
    """Return the metric as it will be read.

    Plugins are third-party code, and a metric that cannot be written or read would make all others unavailable.
    """
    if not isinstance(metric, Metric):
        raise ValueError(f"metrics: {metric!r} is not a hub.Metric")  # noqa: TRY004 - one error for all mistakes
    try:
        read: Metric = msgspec.json.decode(msgspec.json.encode(metric), type=Metric)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"metrics: {getattr(metric, 'name', '?')!r}: {error}") from None
    if problem := metric_problem(read):
        raise ValueError(f"metrics: {problem}")
    return read
