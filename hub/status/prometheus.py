"""Metrics of a node as the text that Prometheus scrapes.

They come from the reports of all processes, not from the client library's multi-process mode, which loads the library
in each process, keeps files of processes that have exited, and has no gauge that belongs to one process. The hub's
processes write plain numbers into their heartbeats, and everything that is in the status comes from the status, so that
metrics, `/status` and `/readyz` cannot disagree.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric as Family

from hub.api.metrics import Histogram, Kind, Metric, Sample, metric_problem
from hub.model.heartbeat import HeartbeatReport
from hub.model.hub import RestartReason
from hub.model.node import Condition, NodeStatus, PluginStatus, Severity
from hub.model.plugin import RegistrationStatus

__all__ = ["CONTENT_TYPE_LATEST", "expose"]


def expose(status: NodeStatus, heartbeats: Mapping[str, HeartbeatReport]) -> bytes:
    """Return the text for one scrape.

    Args:
        status: The status of the node.
        heartbeats: By plugin, the last heartbeat of each running process.
    """
    registry = CollectorRegistry(auto_describe=False)
    metrics = list(_node_metrics(status))
    metrics += _heartbeat_metrics(heartbeats, {metric.name for metric in metrics})
    registry.register(_Collector(metrics))
    return generate_latest(registry)


class _Collector:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Family]:
        return map(_family, self._metrics)


def _node_metrics(status: NodeStatus) -> Iterator[Metric]:
    hub, plugins = status.hub, status.plugins
    yield Metric("dphub_build_info", "The version of the hub.", [Sample(1, {"version": hub.report.version})])
    yield _gauge(
        "dphub_ready",
        "Whether every plugin is registered, or is unregistered for a reason that is not an error.",
        status.ready,
    )
    yield _gauge("dphub_ok", "Whether nothing needs to be fixed.", status.ok)
    severities = Counter(problem.severity for problem in status.problems)
    samples = [Sample(severities[severity], {"severity": severity}) for severity in Severity]
    yield Metric("dphub_problems", "Problems in the status, by severity.", samples)
    yield _gauge("dphub_start_time_seconds", "Start of the hub, in Unix time.", hub.report.started)
    yield _gauge("dphub_kubelet_up", "Whether there is a kubelet that answers.", hub.report.kubelet_since > 0)
    yield _counter(
        "dphub_kubelet_starts_total", "Kubelet starts that the hub has seen.", [Sample(hub.report.kubelet_starts)]
    )
    accepted = not hub.report.config_error
    yield _gauge("dphub_config_last_reload_successful", "Whether the last reload was accepted.", accepted)
    yield Metric("dphub_memory_bytes", "Proportional set size of each process.", list(_memory(status)))
    yield from _process_metrics(plugins)
    yield from _resource_metrics(plugins)
    yield Metric("dphub_device_held", "1 for each device that a container uses.", list(_held(plugins)))


def _memory(status: NodeStatus) -> Iterator[Sample]:
    known = {"": status.hub.memory} | {plugin.name: plugin.memory for plugin in status.plugins}
    return (Sample(bytes_, {"plugin": name}) for name, bytes_ in known.items() if bytes_ is not None)


def _process_metrics(plugins: Sequence[PluginStatus]) -> Iterator[Metric]:
    conditions = [
        Sample(plugin.condition is condition, {"plugin": plugin.name, "condition": condition})
        for plugin in plugins
        for condition in Condition
    ]
    yield Metric("dphub_plugin_condition", "1 for the condition of a plugin, 0 for all others.", conditions)
    last = [Sample(plugin.last_heartbeat, {"plugin": plugin.name}) for plugin in plugins if plugin.last_heartbeat]
    text = "Last heartbeat of a plugin's process, in Unix time."
    yield Metric("dphub_plugin_last_heartbeat_timestamp_seconds", text, last)
    restarts = [
        Sample(plugin.process.restarts.get(reason, 0), {"plugin": plugin.name, "reason": reason})
        for plugin in plugins
        for reason in RestartReason
    ]
    yield _counter("dphub_plugin_restarts_total", "Restarts of a plugin's process, by reason.", restarts)


def _resource_metrics(plugins: Sequence[PluginStatus]) -> Iterator[Metric]:
    found = [
        ({"plugin": plugin.name, "resource": resource.name}, resource)
        for plugin in plugins
        for resource in plugin.report.resources
    ]
    devices = [
        Sample(count, labels | {"health": health})
        for labels, resource in found
        for health, count in _by_health(resource.capacity, resource.allocatable)
    ]
    yield Metric("dphub_devices", "Advertised devices, by health.", devices)
    allocated = [Sample(resource.allocated, labels) for labels, resource in found if resource.allocated is not None]
    yield Metric("dphub_devices_allocated", "Devices that a container uses.", allocated)
    cordoned = [Sample(len(plugin.report.cordons), {"plugin": plugin.name}) for plugin in plugins]
    yield Metric("dphub_devices_cordoned", "Physical devices that an administrator cordoned.", cordoned)
    # While the node's service runs, a hub in a pod registers nothing, which is not a fault.
    registered = [
        Sample(resource.registration is RegistrationStatus.REGISTERED, labels)
        for labels, resource in found
        if resource.registration is not RegistrationStatus.SUPERSEDED
    ]
    yield Metric("dphub_resource_registered", "Whether a resource is registered with the kubelet.", registered)
    registrations = [Sample(resource.registrations, labels) for labels, resource in found]
    text = "Registrations that the kubelet has accepted since the plugin's process started."
    yield _counter("dphub_registrations_total", text, registrations)


def _held(plugins: Sequence[PluginStatus]) -> Iterator[Sample]:
    """Label each device in use with its container, as dcgm-exporter and the kubelet do, so that series can be joined.

    During an upgrade, two hubs report the same devices, and a join needs each of them once.
    """
    for plugin in plugins:
        for resource in plugin.report.resources if plugin.condition is not Condition.SUPERSEDED else ():
            used = [(device.id, device.physical, device.holder) for device in resource.devices if device.holder]
            used += [(name, "", holder) for name, holder in resource.removed_in_use.items()]
            for name, physical, holder in used:
                container = zip(("namespace", "pod", "container"), holder.split("/", 2), strict=False)
                labels = {"device": name, "physical": physical or name, **dict(container)}
                yield Sample(1, {"plugin": plugin.name, "resource": resource.name, **labels})


def _by_health(capacity: int, allocatable: int) -> Sequence[tuple[str, int]]:
    return ("healthy", allocatable), ("unhealthy", capacity - allocatable)


def _heartbeat_metrics(heartbeats: Mapping[str, HeartbeatReport], taken: Collection[str]) -> Iterator[Metric]:
    """Label the metrics of the plugins' processes with the plugin, and merge those with the same name.

    A plugin's own metric is dropped if the node or the plugin's process has one of that name. So is an invalid metric,
    which no process should write: Prometheus would reject all the others along with it.
    """
    merged: dict[str, Metric] = {}
    for plugin, heartbeat in heartbeats.items():
        first = {metric.name: metric for metric in reversed(heartbeat.metrics) if metric.name not in taken}
        first = {name: metric for name, metric in first.items() if not metric_problem(metric)}
        for metric in first.values():
            samples = [Sample(sample.value, {"plugin": plugin, **sample.labels}) for sample in metric.samples]
            known = merged.get(metric.name)
            if known is None or known.kind is metric.kind:
                before = known.samples if known else ()
                merged[metric.name] = Metric(metric.name, metric.help, [*before, *samples], metric.kind)
    yield from merged.values()


def _gauge(name: str, text: str, value: float) -> Metric:
    return Metric(name, text, [Sample(value)])


def _counter(name: str, text: str, samples: Sequence[Sample]) -> Metric:
    return Metric(name, text, samples, Kind.COUNTER)


def _family(metric: Metric) -> Family:
    """Convert a metric for the client library. A sample without one of the labels gets an empty value for it."""
    labels = sorted({label for sample in metric.samples for label in sample.labels})
    if metric.kind is Kind.HISTOGRAM:
        histograms = HistogramMetricFamily(metric.name, metric.help, labels=labels)
        for values, value in _rows(metric, labels):
            if isinstance(value, Histogram):
                histograms.add_metric(values, buckets=_buckets(value), sum_value=value.sum)
        return histograms
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = kind(metric.name, metric.help, labels=labels)
    for values, value in _rows(metric, labels):
        if not isinstance(value, Histogram):
            family.add_metric(values, value)
    return family


def _rows(metric: Metric, labels: Sequence[str]) -> Iterator[tuple[list[str], float | Histogram]]:
    return (([sample.labels.get(label, "") for label in labels], sample.value) for sample in metric.samples)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    total, buckets = 0, []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
