"""The threads of the GPU plugin: each is restarted when it fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from hub import Host, Runtime
from hub.testing.waiting import wait_until
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.mps import MpsDaemons
from plugins.gpu.mps.daemon import MpsDaemon
from plugins.gpu.nvml.driver import Driver
from plugins.gpu.nvml.failures import DriverTimeout
from plugins.gpu.resources import plan
from plugins.gpu.settings.file import GPUSettings
from tests.harness.gpu_support import facts
from tests.simulators.nvml import SimulatedNode


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedNode:
    """Create a node with two GPUs."""
    node = SimulatedNode(tmp_path, "pair")
    # An earlier test may have loaded the library of another node.
    monkeypatch.setenv("NVML_SIMULATOR", node.environment["NVML_SIMULATOR"])
    return node


@pytest.fixture
def paths(tmp_path: Path, driver: SimulatedNode) -> DriverPaths:  # noqa: ARG001 - makes the files
    """Create the directories of its files."""
    return DriverPaths(Host(tmp_path), "/", "/", "/driver-root")


@pytest.fixture
def lines() -> Iterator[list[dict[str, object]]]:
    """Collect what is logged in the meantime."""
    with capture_logs() as found:
        yield found  # type: ignore[misc]


def _fail(*_: object) -> NoReturn:
    raise ValueError("embedded null byte")


async def test_an_mps_thread_that_fails(
    tmp_path: Path,
    driver: SimulatedNode,
    paths: DriverPaths,
    lines: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The GPUs that need its daemons are unhealthy for that reason; the thread is restarted, and so are its daemons."""
    settings = GPUSettings.read(
        _written(tmp_path, "sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}")
    )
    shares = plan(settings, facts(driver)).shares
    started: list[str] = []
    monkeypatch.setattr(MpsDaemon, "is_running", _fail)
    monkeypatch.setattr(MpsDaemon, "start", lambda daemon, _limits: started.append(daemon._resource))
    daemons = MpsDaemons(settings, paths, Runtime(), changed=lambda: None)
    reasons = daemons.ensure(shares)
    assert list(reasons.values()) == ["MPS: ValueError: embedded null byte"]
    monkeypatch.setattr(MpsDaemon, "is_running", lambda _daemon: False)
    await wait_until(lambda: started, "a daemon")
    assert _events(lines, "mps")[:2] == ["thread failed", "thread restarted"]
    assert list(daemons.ensure(shares).values()) == [""]
    # Without shares, the thread is idle.
    daemons.ensure([])


async def test_a_driver_thread_that_fails(
    paths: DriverPaths, lines: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poll that it interrupted gets no response in time; the next one does."""
    driver = Driver(paths, lambda _xid: None, lambda: None, listen=False)
    handle = driver._handle
    monkeypatch.setattr(driver, "_handle", _fail)
    with pytest.raises(DriverTimeout):
        driver.poll(0.1)
    monkeypatch.setattr(driver, "_handle", handle)
    assert len(driver.poll(60).gpus) == 2
    assert _events(lines, "nvml")[:2] == ["thread failed", "thread restarted"]


def _events(lines: list[dict[str, object]], thread: str) -> list[object]:
    """Return the events of one thread; those of other tests may still be running."""
    return [line["event"] for line in lines if line.get("thread") == thread]


def _written(directory: Path, text: str) -> Path:
    file = directory / "gpu.yaml"
    file.write_text(text)
    return file
