"""The GPU plugin on real GPUs; skipped where no NVIDIA driver is loaded."""

from pathlib import Path

import pytest

from hub import Host, ResetDevice
from hub.reset.result import Outcome
from hub.reset.runner import ResetRunner
from hub.testing.kubelet import FakeKubelet
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.nvml.driver import Driver
from plugins.gpu.reset.settings import ResetSettings
from plugins.gpu.settings.levels import ResetLevel
from tests.harness.gpu_support import GPU, answer
from tests.harness.node import Node

pytestmark = [
    pytest.mark.hardware,
    pytest.mark.skipif(not Path("/proc/driver/nvidia/version").exists(), reason="no NVIDIA driver is loaded"),
]


@pytest.fixture
def driver() -> Driver:
    """The real driver."""
    return Driver(DriverPaths(Host()), lambda _xid: None, lambda: None)


def test_discovery(driver: Driver) -> None:
    """Each GPU has what a container and a scheduler need, and nothing is wrong with it."""
    view = driver.poll(30)
    assert view.reason == ""
    assert view.gpus
    for gpu in view.gpus:
        assert gpu.uuid.startswith("GPU-")
        assert Path(f"/dev/nvidia{gpu.minor}").exists()
        assert gpu.memory > 1 << 30
        assert gpu.compute_capability >= (5, 0)
        assert gpu.fault == ""
    assert driver.poll(30) == view


async def test_allocation(node: Node, kubelet: FakeKubelet, driver: Driver) -> None:
    """A container gets a GPU by its UUID; the driver's errors are listened to."""
    gpus = driver.poll(30).gpus
    plugin = node.start_plugin("plugins.gpu:GPU", name="gpu", config="flags: {plugin: {passDeviceSpecs: true}}")
    await kubelet.wait_for(GPU, len(gpus), timeout=60)
    got = answer(await kubelet.admit("job", {GPU: 1}))
    (gpu,) = [gpu for gpu in gpus if gpu.uuid == got.envs["NVIDIA_VISIBLE_DEVICES"]]
    assert f"/dev/nvidia{gpu.minor}" in [node.host_path for node in got.devices]
    assert not plugin.lines("xid monitoring changed")


async def test_clean(driver: Driver) -> None:
    """A free GPU is checked and cleaned; what the card cannot do is skipped."""
    gpu = driver.poll(30).gpus[0]
    settings = ResetSettings(levels={gpu.uuid: ResetLevel.CLEAN})
    resetter = ResetRunner("plugins.gpu.reset:reset", lambda: settings)
    result = (await resetter.reset([ResetDevice(gpu.uuid)], 25))[gpu.uuid]
    assert result.outcome is Outcome.OK, result.message


def test_health(driver: Driver) -> None:
    """Probes of a real GPU find nothing, again and again, and each is answered well within its limit."""
    for _ in range(20):
        view = driver.poll(5)
        assert [(gpu.fault, gpu.migs) for gpu in view.gpus if gpu.fault] == []
        assert view.unknown == ()
