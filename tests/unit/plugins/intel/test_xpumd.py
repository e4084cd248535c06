"""What xpumd reports about GPUs, and its effect on health."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from hub import Device, ServiceError
from plugins.intel import health
from plugins.intel.discovery.xpumd import Part, Severity, parse_health
from plugins.intel.plugin import Intel
from tests.simulators import xpumd
from tests.simulators.inteltree import battlemage
from tests.simulators.xpumd import response
from tests.unit.plugins.intel.test_gpus import CARD, INTEGRATED, plugin_of

OK, WARNING, CRITICAL, FAILED = Severity.OK, Severity.WARNING, Severity.CRITICAL, Severity.FAILED

Said = dict[str, list[Part]]


def _parsed(said: Mapping[str, xpumd.Health]) -> Mapping[str, Sequence[tuple[str, int, str]]]:
    return {pci: [tuple(part) for part in parts] for pci, parts in parse_health(response(said)).items()}


def test_a_response() -> None:
    """It has the parts of each GPU, how bad their states are, and one word for the reason."""
    said = {
        CARD: [("memory", xpumd.Severity.CRITICAL, "EccErrors"), ("temperature.gpu", xpumd.Severity.OK, "ok")],
        INTEGRATED: [],
    }
    assert _parsed(said) == said


def test_a_response_without_gpus() -> None:
    """The first response, before xpumd has detected anything, looks like this."""
    assert not parse_health(b"")
    assert not parse_health(response({}))


ODD: dict[str, tuple[bytes, Mapping[str, Sequence[tuple[str, int, str]]]]] = {
    "a GPU without an address": (response({"": [("memory", xpumd.Severity.FAILED, "x")]}), {}),
    "a GPU that is not a message": (b"\x0a\x01\xff", {}),
    "a GPU that is a number": (b"\x08\x01", {}),
    "an address in capitals": (response({CARD.upper(): []}), {CARD: []}),
    "words with control characters": (
        response({CARD: [("\x1b[2J", xpumd.Severity.FAILED, "a\nb")]}),
        {CARD: [("a part", FAILED, "")]},
    ),
    "very long words": (
        response({CARD: [("x" * 1000, xpumd.Severity.FAILED, "y" * 1000)]}),
        {CARD: [("a part", 4, "")]},
    ),
    "a severity of a later version": (
        response({CARD: [("memory", xpumd.Severity.FAILED, "")]}).replace(b"\x10\x04", b"\x10\x63"),
        {CARD: [("memory", Severity.UNKNOWN, "")]},
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_response(name: str) -> None:
    """What is odd about one GPU affects only that GPU."""
    content, said = ODD[name]
    good = response({"0000:99:00.0": []})
    assert parse_health(content + good) == {**said, "0000:99:00.0": []}


def test_what_is_not_a_response() -> None:
    """It is an error, which the note shows."""
    with pytest.raises(ServiceError):
        parse_health(b"\xff\xff")


class Daemon:
    """What xpumd reports, and how long it has done so.

    Args:
        monkeypatch: Puts this class in place of the daemon.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: Said = {CARD: [], INTEGRATED: []}
        self.problem = ""
        self.now = 1000.0
        monkeypatch.setattr(health, "read_health", self._read)
        monkeypatch.setattr(health.time, "monotonic", lambda: self.now)

    def _read(self, socket: Path) -> Said:
        assert str(socket).endswith("/run/xpumd/intelxpuinfo.sock")
        if self.problem:
            raise ServiceError(self.problem)
        return self.said


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """Create the daemon, which reports nothing bad."""
    return Daemon(monkeypatch)


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[..., Intel]:
    """Create a plugin that queries the daemon, on a node with an integrated GPU and a card."""
    return lambda **settings: plugin_of(battlemage(tmp_path), xpumd_endpoint="/run/xpumd/intelxpuinfo.sock", **settings)


def _health(plugin: Intel) -> dict[str, tuple[str, str]]:
    devices = [each for each in plugin.devices() if isinstance(each, Device)]
    return {device.id: (device.unhealthy, device.warning) for device in devices if device.unhealthy or device.warning}


def test_a_healthy_node(daemon: Daemon, plugin: Callable[..., Intel]) -> None:
    """There are no notes about it."""
    daemon.said[CARD] = [Part("memory", OK, "ok"), Part("fabric", Severity.UNKNOWN, "")]
    served = plugin()
    assert not _health(served)
    assert not served.notes


BAD = [Part("temperature.memory", WARNING, "HighTemperature"), Part("memory", CRITICAL, "")]


@pytest.mark.parametrize(
    ("severity", "fault", "warning"),
    [
        ("warning", "xpumd reports temperature.memory: warning (HighTemperature); xpumd reports memory: critical", ""),
        ("critical", "xpumd reports memory: critical", "xpumd reports temperature.memory: warning (HighTemperature)"),
        ("failed", "", "xpumd reports temperature.memory: warning (HighTemperature); xpumd reports memory: critical"),
    ],
)
def test_bad_states(daemon: Daemon, plugin: Callable[..., Intel], severity: str, fault: str, warning: str) -> None:
    """They make a GPU unhealthy if they are bad enough, and are warnings otherwise; other GPUs are not affected."""
    daemon.said[CARD] = BAD
    served = plugin(xpumd_severity=severity)
    assert _health(served) == {CARD: (fault, warning)}
    daemon.said[CARD] = []
    assert not _health(served)


def test_all_shares(daemon: Daemon, plugin: Callable[..., Intel]) -> None:
    """They are unhealthy together; the resource for monitoring is not."""
    daemon.said[CARD] = [Part("memory", FAILED, "x"), Part("memory", FAILED, "x")]
    fault = ("xpumd reports memory: failed (x)", "")
    assert _health(plugin(shared_dev_num=2, enable_monitoring=True)) == {f"{CARD}::0": fault, f"{CARD}::1": fault}


def test_xpumd_is_restarted(daemon: Daemon, plugin: Callable[..., Intel]) -> None:
    """Its last report stays in effect for a minute; then GPUs are healthy, as without it, and a note says why."""
    daemon.said[CARD] = [Part("memory", FAILED, "")]
    served = plugin()
    assert _health(served)
    daemon.problem = "there is no such service"
    daemon.now += 59
    assert _health(served)
    assert not served.notes
    daemon.now += 2
    assert not _health(served)
    assert list(served.notes) == [
        f"xpumd-endpoint: assumed to be healthy: {INTEGRATED}, {CARD}: there is no such service"
    ]


def test_xpumd_does_not_know_a_gpu(daemon: Daemon, plugin: Callable[..., Intel]) -> None:
    """Most integrated GPUs are unknown to it: they are healthy, and a note names each of them."""
    del daemon.said[INTEGRATED]
    served = plugin()
    assert not _health(served)
    assert list(served.notes) == [
        f"xpumd-endpoint: assumed to be healthy: {INTEGRATED}: xpumd does not report the health of these GPUs"
    ]


def test_a_response_about_other_gpus(daemon: Daemon, plugin: Callable[..., Intel]) -> None:
    """The previous response about the GPU stays in effect."""
    served = plugin()
    daemon.said = {CARD: [Part("memory", FAILED, "")]}
    assert _health(served)
    daemon.said = {INTEGRATED: []}
    assert _health(served)
