"""What the metrics exporter reports, and when it takes effect."""

import pytest

from plugins.amd.discovery.facts import Card, Gpu, KfdNode
from plugins.amd.health import KEPT, REPORTED, Reports

CARD = "0000:05:00.0"


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


def _gpu(partition: int | None = None, source: str = CARD) -> Gpu:
    node = KfdNode(2, 1, 128, (0, 0, 0))
    return Gpu(Card(CARD), node, ("card1", "renderD128"), partition, source=source)


@pytest.fixture
def clock() -> Clock:
    """Create the clock."""
    return Clock()


@pytest.fixture
def reports(clock: Clock) -> Reports:
    """Return the reports of an exporter that has answered once, and found nothing wrong."""
    reports = Reports(30, clock)
    reports.update([])
    return reports


def test_a_report_counts_after_a_while(reports: Reports, clock: Clock) -> None:
    """The time starts again if the exporter found nothing wrong in the meantime."""
    reports.update([CARD])
    clock.now += 29
    assert reports.fault(_gpu()) == ""
    reports.update([])
    reports.update([CARD])
    clock.now += 29
    assert reports.fault(_gpu()) == ""
    clock.now += 1
    assert reports.fault(_gpu()) == REPORTED
    reports.update([])
    assert reports.fault(_gpu()) == ""


def test_the_first_answer_counts_at_once(clock: Clock) -> None:
    """A GPU may have been unhealthy for a long time when the plugin starts."""
    reports = Reports(30, clock)
    reports.update([CARD])
    assert reports.fault(_gpu()) == REPORTED


def test_an_exporter_that_no_longer_answers(reports: Reports, clock: Clock) -> None:
    """Its last reports stay in effect for a while, in case of an update. A GPU that it does not know is healthy."""
    reports.update([CARD])
    clock.now += KEPT - 1
    reports.expire()
    assert reports.fault(_gpu()) == REPORTED
    clock.now += 1
    reports.expire()
    assert reports.fault(_gpu()) == ""


@pytest.mark.parametrize(
    ("name", "unhealthy"),
    [
        (CARD, [0, 1, 2]),
        ("0000:05:00.1", [1]),
        ("0000:05:00.2", [2]),
        ("amdgpu_xcp_7", [1]),
        ("amdgpu_xcp.8", [2]),
        ("0000:06:00.0", []),
        ("", []),
    ],
)
def test_the_names_of_partitions(reports: Reports, clock: Clock, name: str, unhealthy: list[int]) -> None:
    """A report on a card applies to all its partitions; one on a partition gives a PCI function or a device's name."""
    gpus = [_gpu(0), _gpu(1, "amdgpu_xcp_7"), _gpu(2, "amdgpu_xcp.8")]
    reports.update([name])
    clock.now += 30
    assert [gpu.partition for gpu in gpus if reports.fault(gpu)] == unhealthy
