"""Fixtures of the tests on a real cluster; they run only in the namespaces that `make test-cluster` makes."""

import os
import time
from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.figures import FIGURES, Figures
from tests.cluster.hub import DEVICES, Overlay, allocatable, wait_for_rollout
from tests.cluster.settings import SCRATCH_VARIABLE, scratch
from tests.cluster.waiting import wait_until

collect_ignore_glob = [] if SCRATCH_VARIABLE in os.environ else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the scenarios measured."""
    if FIGURES.lines:
        terminalreporter.section("figures")
    for line in FIGURES.lines:
        terminalreporter.write_line(line)


@pytest.fixture
def figures() -> Figures:
    """Return where a scenario writes what it measured."""
    return FIGURES


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Start the cluster."""
    cluster = Cluster(scratch())
    began = time.monotonic()
    try:
        cluster.start()
        FIGURES.add("cluster", f"ready {time.monotonic() - began:.0f} s after its start")
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def overlay(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overlay]:
    """Install the hub with a user's overlay, and uninstall it after the scenarios of a file."""
    overlay = Overlay(cluster, tmp_path_factory.mktemp("checkout"))
    began = time.monotonic()
    overlay.apply()
    try:
        wait_for_rollout(cluster)
        FIGURES.add("overlay applied", f"hub ready after {time.monotonic() - began:.1f} s")
        wait_until(lambda: allocatable(cluster) == DEVICES, "the devices in the node's status")
        yield overlay
    finally:
        overlay.delete()
