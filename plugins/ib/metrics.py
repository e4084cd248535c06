"""Prometheus metrics of the ports of HCAs: state, rate and errors."""

from collections.abc import Iterable, Iterator, Sequence

from hub import Host, Kind, Metric, Sample
from plugins.ib.discovery.facts import Hca, Port
from plugins.ib.discovery.sysfs import read_counters
from plugins.ib.health import GOOD_STATES

PORTS = 64
"""The maximum number of ports with metrics; no node has more ports of physical functions."""

GIGABIT = 1e9 / 8
"""The number of bytes in a gigabit."""


def port_metrics(host: Host, hcas: Iterable[Hca]) -> list[Metric]:
    """Return the metrics of ports of physical functions; virtual functions share their counters."""
    ports = [(hca, port) for hca in hcas if not hca.pf for port in hca.ports][:PORTS]
    up = [Sample(float(port.state in GOOD_STATES), _labels(hca, port)) for hca, port in ports]
    rates = [Sample(port.rate * GIGABIT, _labels(hca, port)) for hca, port in ports]
    return [
        Metric("dphub_ib_port_up", "Whether a port is active.", up),
        Metric("dphub_ib_port_rate_bytes_per_second", "Signalling rate of a port's link.", rates),
        Metric("dphub_ib_port_errors_total", "Errors that a port counts.", list(_errors(host, ports)), Kind.COUNTER),
    ]


def _errors(host: Host, ports: Sequence[tuple[Hca, Port]]) -> Iterator[Sample]:
    for hca, port in ports:
        for counter, value in read_counters(host, hca.name, port.number).items():
            yield Sample(float(value), _labels(hca, port) | {"counter": counter})


def _labels(hca: Hca, port: Port) -> dict[str, str]:
    return {"device": hca.name, "port": str(port.number)}
