"""AMD's metrics exporter as a source of health."""

import socket
from pathlib import Path

import pytest

from hub import Host
from hub.testing.kubelet import FakeKubelet
from plugins.amd.discovery.exporter import METHODS
from plugins.amd.health import Exporter
from plugins.amd.settings import HealthRules
from tests.harness.node import Node
from tests.simulators.amdexporter import SimulatedExporter
from tests.simulators.amdtree import AmdTree

FIRST, SECOND = "0000:05:00.0", "0000:26:00.0"
SOCKET = "/run/exporter.sock"
STATES = {FIRST: "healthy", SECOND: "unhealthy", "0000:46:00.0": "UNKNOWN"}


def _two_gpus(node: Node) -> tuple[Path, SimulatedExporter]:
    """Return the root of a node's file system with two GPUs, and an exporter that is not serving yet."""
    root = node.directory / "root"
    root.mkdir()
    tree = AmdTree(root)
    tree.add(FIRST)
    tree.add(SECOND)
    return root, SimulatedExporter(root / SOCKET[1:])


async def test_a_gpu_that_it_reports(node: Node, kubelet: FakeKubelet) -> None:
    """The GPU cannot be allocated until the exporter finds nothing wrong; the others can."""
    root, exporter = _two_gpus(node)
    config = f"health: {{exporter: {SOCKET}, interval: 1, unhealthy_after: 0, stable_for: 0}}"
    node.start_plugin("plugins.amd:AMD", name="amd", config=config, env={"DPHUB_HOST_ROOT": str(root)})
    await kubelet.wait_for("amd.com/gpu", 2)
    with exporter.running():
        exporter.states = STATES
        await kubelet.wait_for("amd.com/gpu", 1)
        got = (await kubelet.admit("job", {"amd.com/gpu": 1})).containers["main"]
        assert got.devices["amd.com/gpu"] == [FIRST]
        exporter.states = {FIRST: "healthy", SECOND: "healthy"}
        await kubelet.wait_for("amd.com/gpu", 2)


async def test_a_gpu_that_was_reported_before_the_plugin_starts(node: Node, kubelet: FakeKubelet) -> None:
    """The GPU is allocatable for a moment at most, even though nothing changes after the start."""
    root, exporter = _two_gpus(node)
    exporter.states = STATES
    with exporter.running():
        config = f"health: {{exporter: {SOCKET}}}"
        node.start_plugin("plugins.amd:AMD", name="amd", config=config, env={"DPHUB_HOST_ROOT": str(root)})
        await kubelet.wait_for("amd.com/gpu", 1)


@pytest.fixture
def path(directory: Path) -> Path:
    """Return the path of the exporter's socket."""
    return directory / SOCKET[1:]


@pytest.fixture
def polled(directory: Path) -> Exporter:
    """Return the client that queries the exporter at each poll."""
    return Exporter(Host(directory), HealthRules(exporter=SOCKET, interval=0))


@pytest.mark.parametrize("method", METHODS)
def test_both_names_of_its_service(path: Path, polled: Exporter, method: str) -> None:
    """Exporters do not answer under the service name in their own API definition, so both names are tried."""
    exporter = SimulatedExporter(path, method.split("/")[1])
    exporter.states = STATES
    with exporter.running():
        polled.poll()
    assert (polled.reports.unhealthy(), polled.problem) == ({SECOND}, "")


@pytest.mark.parametrize("answer", [b"\xff", b"\x0a\x05x", b"\x0a\x01\xff"])
def test_an_invalid_answer(path: Path, polled: Exporter, answer: bytes) -> None:
    """The status shows the problem; since the response says nothing about any GPU, the last reports stay in effect."""
    exporter = SimulatedExporter(path)
    exporter.states = STATES
    with exporter.running():
        polled.poll()
        exporter.answer = answer
        polled.poll()
    assert "not a Protocol Buffers message" in polled.problem
    assert polled.reports.unhealthy() == {SECOND}


def test_no_exporter(path: Path, polled: Exporter) -> None:
    """A missing exporter is not a problem, but a socket on which nothing answers is one."""
    polled.poll()
    assert (polled.reports.unhealthy(), polled.problem) == (set(), "")
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    polled.poll()
    assert f"{path}: /metricssvc.MetricsService/List failed" in polled.problem
