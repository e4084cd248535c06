"""A plugin's own metrics."""

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from hub import Device, Histogram, Host, Kind, Metric, Plugin, Runtime, Sample
from hub.base.statusfile import WRITE_DELAY, StatusFile
from hub.plugin.metrics.plugin import PluginMetrics, checked_metrics

NAMED = "dphub_example_things"

ODD: list[tuple[str, Metric]] = [
    ("no number", Metric(NAMED, "", [Sample("3")])),  # type: ignore[arg-type]
    ("not a number", Metric(NAMED, "", [Sample(float("nan"))])),
    ("endless", Metric(NAMED, "", [Sample(float("inf"))])),
    ("a truth", Metric(NAMED, "", [Sample(value=True)])),
    ("a label that is not a string", Metric(NAMED, "", [Sample(1, {"gpu": 0})])),  # type: ignore[dict-item]
    ("a label that cannot be written", Metric(NAMED, "", [Sample(1, {"file": "\udcff"})])),
    ("a label of the hub's", Metric(NAMED, "", [Sample(1, {"plugin": "me"})])),
    ("a label that Prometheus uses itself", Metric(NAMED, "", [Sample(1, {"le": "1"})])),
    ("a name with a dash", Metric("things-there", "", [Sample(1)])),
    ("a counter without its end", Metric(NAMED, "", [Sample(1)], Kind.COUNTER)),
    ("a gauge with that end", Metric(f"{NAMED}_total", "", [Sample(1)])),
    ("the same twice", Metric(NAMED, "", [Sample(1), Sample(2)])),
    ("a histogram without a Histogram value", Metric(NAMED, "", [Sample(1)], Kind.HISTOGRAM)),
    ("a histogram that does not fit", Metric(NAMED, "", [Sample(Histogram((1.0,), [1]))], Kind.HISTOGRAM)),
    ("too many", Metric(NAMED, "", [Sample(n, {"n": str(n)}) for n in range(1001)])),
]


@pytest.mark.parametrize("metric", [row[1] for row in ODD], ids=[row[0] for row in ODD])
def test_metrics_that_no_reader_could_parse(metric: Metric) -> None:
    """They are refused, with the metric's name."""
    with pytest.raises(ValueError, match=r"^metrics: "):
        checked_metrics([metric])


def test_endless_metrics_are_an_error() -> None:
    """The plugin does not use up the memory of its pod."""
    with pytest.raises(ValueError, match="more than 1000 metrics"):
        checked_metrics(Metric(f"{NAMED}_{letters}", "") for letters in map(str, count()))


class Thermometer(Plugin):
    """A plugin with a metric."""

    resource = "example.com/oven"
    degrees = 20

    def devices(self) -> Iterator[Device]:
        """Return no devices."""
        return iter(())

    def metrics(self) -> list[Metric]:
        """Return the temperature."""
        return [Metric("example_degrees", "", [Sample(self.degrees)])]


async def test_only_new_metrics_are_written(directory: Path) -> None:
    """While nothing changes, an idle process does not write them again."""
    written = []
    plugin = Thermometer(None, Host(Path("/")), Runtime())
    metrics = PluginMetrics(plugin, StatusFile(directory / "file.json", lambda: written.append(metrics.latest)))
    for degrees in (20, 20, 30, 30):
        plugin.degrees = degrees
        metrics.refresh()
        assert metrics._answer is not None
        await asyncio.wait([metrics._answer])
        # Longer than the delay of a write, whose timer began before this one.
        await asyncio.sleep(2 * WRITE_DELAY)
    assert [metric.samples[0].value for (metric,) in written] == [20, 30]
