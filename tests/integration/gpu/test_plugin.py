"""The GPU plugin as a kubelet sees it: which GPUs there are, whatever the driver does."""

import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from hub.base.exits import Exit
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.gpu_support import GPU, GpuNode, answer
from tests.harness.node import Node, asking_for, dialled
from tests.simulators.nvml import LOST, UNKNOWN, make_gpu

QUICK = "dphub: {health: {interval: 0.1, stable_for: 0, driver_timeout: 2}}"


async def _reason(plugin: PluginProcess, words: str) -> str:
    """Wait until the plugin has no device and the reason contains these words, and return the reason."""
    state = await wait_until(lambda: found if (found := plugin.state()) and words in found.reason else None, words)
    return state.reason


async def test_eight_gpus(node: Node, kubelet: FakeKubelet) -> None:
    """Each GPU is a device with its UUID, on its NUMA node."""
    gpus = GpuNode(node)
    gpus.start()
    await kubelet.wait_for(GPU, 8)
    assert [(device.id, device.numa) for device in kubelet.devices(GPU)] == [
        (gpu.uuid, (gpu.numa,)) for gpu in gpus.driver.gpus
    ]


async def test_a_container(node: Node, kubelet: FakeKubelet) -> None:
    """A container gets the GPUs that the plugin recommended to the kubelet."""
    gpus = GpuNode(node, "pcie8")
    gpus.start()
    await kubelet.wait_for(GPU, 8)
    first = answer(await kubelet.admit("first", {GPU: 1}))
    second = answer(await kubelet.admit("second", {GPU: 2}))
    uuids = gpus.uuids()
    assert first.envs == {"NVIDIA_VISIBLE_DEVICES": uuids[0]}
    assert set(second.envs["NVIDIA_VISIBLE_DEVICES"].split(",")) == {uuids[2], uuids[3]}


WITHOUT_LIBRARY = """
import sys
from pathlib import Path
from hub import Host, Runtime
from plugins.gpu import GPU
from plugins.gpu.settings.file import GPUSettings
plugin = GPU(GPUSettings(), Host(Path(sys.argv[1])), Runtime())
try:
    list(plugin.devices())
except Exception as error:
    print(error)
print("pynvml loaded" if "pynvml" in sys.modules else "pynvml not loaded")
"""


def test_a_node_without_a_driver_does_not_load_its_bindings(tmp_path: Path) -> None:
    """The bindings would take 2.5 MB. The reported reason is the one that they would give."""
    # In another process: a test may have loaded the simulated driver into this one.
    loads = [sys.executable, "-c", "import ctypes; ctypes.CDLL('libnvidia-ml.so.1')"]
    if subprocess.run(loads, capture_output=True, check=False).returncode == 0:
        pytest.skip("this machine has a driver")
    command = [sys.executable, "-c", WITHOUT_LIBRARY, str(tmp_path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    missing = "/proc/driver/nvidia/version does not exist (nvmlInit: NVML Shared Library Not Found)"
    assert printed == [f"no NVIDIA driver is loaded on this node: {missing}", "pynvml not loaded"]


async def test_no_driver(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin stays up without a device and gives the reason; when a driver appears, its GPUs are served."""
    gpus = GpuNode(node, "pair")
    gpus.driver.unload()
    plugin = gpus.start(QUICK)
    await kubelet.wait_for(GPU, 0)
    reason = await _reason(plugin, "no NVIDIA driver is loaded on this node")
    assert "/proc/driver/nvidia/version" in reason
    gpus.driver.clear_faults()
    await kubelet.wait_for(GPU, 2)
    gpus.driver.unload()
    await kubelet.wait_for(GPU, 0)
    await kubelet.wait_until(lambda kubelet: kubelet.devices(GPU) == [])
    gpus.driver.clear_faults()
    await kubelet.wait_for(GPU, 2)
    assert plugin.process.poll() is None


async def test_no_library(node: Node, kubelet: FakeKubelet) -> None:
    """The reason says where the library was looked for; it is found as soon as it is there."""
    gpus = GpuNode(node, "pair")
    library = gpus.root / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
    library.rename(library.with_name("elsewhere"))
    plugin = gpus.start(QUICK)
    assert "/usr/lib64" in await _reason(plugin, "libnvidia-ml.so.1 was not found")
    library.with_name("elsewhere").rename(library)
    await kubelet.wait_for(GPU, 2)


async def test_no_gpu(node: Node, kubelet: FakeKubelet) -> None:
    """A driver without a GPU is not a fault."""
    plugin = GpuNode(node, "none").start(QUICK)
    await kubelet.wait_for(GPU, 0)
    await _reason(plugin, "the NVIDIA driver 580.82.07 finds no GPU")


async def test_fail_on_init_error(node: Node, kubelet: FakeKubelet) -> None:  # noqa: ARG001 - it runs
    """If the setting requires a driver, a plugin without one exits with a code of its own and the reason."""
    gpus = GpuNode(node, "pair")
    gpus.driver.unload()
    plugin = gpus.start(FAIL_ON_INIT_ERROR="true")
    assert await plugin.exited() == Exit.NEEDS_RESTART
    assert "no NVIDIA driver is loaded" in (await plugin.logged("plugin requested restart"))["reason"]


async def test_a_driver_that_is_removed_later_is_not_an_init_error(node: Node, kubelet: FakeKubelet) -> None:
    """The driver was there when the plugin started, so its loss does not count as such an error."""
    gpus = GpuNode(node, "pair")
    plugin = gpus.start(f"flags: {{failOnInitError: true}}\n{QUICK}")
    await kubelet.wait_for(GPU, 2)
    gpus.driver.unload()
    await kubelet.wait_for(GPU, 0)
    await _reason(plugin, "no NVIDIA driver")
    gpus.driver.clear_faults()
    await kubelet.wait_for(GPU, 2)


async def test_another_driver_under_the_plugin(node: Node, kubelet: FakeKubelet) -> None:
    """The loaded library does not match any more, so a new process is needed, and it serves at once."""
    gpus = GpuNode(node, "pair")
    plugin = gpus.start(QUICK)
    await kubelet.wait_for(GPU, 2)
    gpus.driver.mismatch()
    assert await plugin.exited() == Exit.NEEDS_RESTART
    assert "the driver was replaced" in plugin.lines("plugin requested restart")[0]["reason"]
    gpus.driver.clear_faults()
    gpus.start(QUICK)
    await kubelet.wait_for(GPU, 2)


@pytest.mark.parametrize("function", ["*", "nvmlDeviceGetUUID", "nvmlEventSetWait_v2"])
async def test_a_driver_that_hangs(node: Node, kubelet: FakeKubelet, function: str) -> None:
    """Allocations are answered in the meantime; after the limit the devices are unhealthy, and the process exits."""
    gpus = GpuNode(node, "pair")
    plugin = gpus.start(QUICK)
    await kubelet.wait_for(GPU, 2)
    gpus.driver.hang(function)
    async with dialled(node.sockets()[0]) as client:
        await client.Allocate(asking_for(gpus.uuids()[0]))
    assert await plugin.exited() == Exit.NEEDS_RESTART
    reason = plugin.lines("plugin requested restart")[0]["reason"]
    assert reason.startswith("the NVIDIA driver does not answer: ")
    assert "has not returned after" in reason
    assert plugin.lines("devices unhealthy")[0]["reason"] == reason
    state = plugin.state()
    assert state is not None
    assert state.reason == reason
    gpus.driver.clear_faults()
    gpus.start(QUICK)
    await kubelet.wait_for(GPU, 2)


async def test_a_slow_driver(node: Node, kubelet: FakeKubelet) -> None:
    """Only a call that does not return is a hang; many slow calls are not, however long they take in total."""
    gpus = GpuNode(node, "switch8")
    gpus.driver.delay("nvmlDeviceGetUUID", 500)
    plugin = gpus.start("dphub: {health: {driver_timeout: 3}}")
    await kubelet.wait_for(GPU, 8)
    assert not plugin.lines("plugin requested restart")


async def test_hot_plug(node: Node, kubelet: FakeKubelet) -> None:
    """A new GPU is advertised, a removed one is not; the others keep their ids though indices shift."""
    gpus = GpuNode(node, "switch8")
    plugin = gpus.start(QUICK)
    await kubelet.wait_for(GPU, 8)
    gpus.driver.unplug(2)
    await kubelet.wait_for(GPU, 7)
    await kubelet.wait_until(lambda kubelet: {device.id for device in kubelet.devices(GPU)} == set(gpus.uuids()))
    gpus.driver.plug(make_gpu(9, 16))
    await kubelet.wait_for(GPU, 8)
    assert {device.id for device in kubelet.devices(GPU)} == set(gpus.uuids())
    assert not plugin.lines("devices unhealthy")


async def test_device_files_make_it_look_at_once(node: Node, kubelet: FakeKubelet) -> None:
    """A new driver is noticed by its device files, before the next probe."""
    gpus = GpuNode(node, "pair")
    gpus.driver.unload()
    plugin = gpus.start("dphub: {health: {interval: 1000}}")
    await _reason(plugin, "no NVIDIA driver")
    gpus.driver.clear_faults()
    (gpus.root / "dev/nvidia-again").touch()
    await kubelet.wait_for(GPU, 2)


async def test_mig_is_reconfigured(node: Node, kubelet: FakeKubelet) -> None:
    """A resource appears with its first devices, and stays registered, with no devices, when they are gone."""
    gpus = GpuNode(node, "a100x2", {1: "mixed"})
    gpus.start(f"flags: {{migStrategy: mixed}}\n{QUICK}")
    for name, count in {"gpu": 1, "mig-3g.20gb": 1, "mig-1g.5gb": 1, "mig-1g.5gb.me": 1}.items():
        await kubelet.wait_for(f"nvidia.com/{name}", count)
    gpus.driver.divide(1, "1g")
    await kubelet.wait_for("nvidia.com/mig-1g.5gb", 7)
    await kubelet.wait_for("nvidia.com/mig-3g.20gb", 0)
    gpus.driver.divide(1, None)
    await kubelet.wait_for(GPU, 2)
    await kubelet.wait_for("nvidia.com/mig-1g.5gb", 0)


async def test_what_is_left_out(node: Node, kubelet: FakeKubelet) -> None:
    """Excluded GPUs, and GPUs that never answered, are in the status with the reason."""
    gpus = GpuNode(node, "switch8")
    gpus.driver.lose(5)
    gpus.driver.gpus[6].failures["*"] = UNKNOWN
    gpus.driver.apply()
    plugin = gpus.start("dphub: {exclude: ['0']}")
    await kubelet.wait_for(GPU, 5)
    state = await wait_until(
        lambda: found if (found := plugin.state()) and found.excluded else None, "what is left out"
    )
    reasons = {each.id: each.reason for each in state.excluded}
    assert reasons[gpus.uuids()[0]] == "excluded by dphub.exclude (0)"
    assert reasons["gpu-index-5"] == "the GPU is lost (nvmlDeviceGetHandleByIndex: GPU is lost)"
    assert reasons["gpu-index-6"].startswith("the GPU does not answer (nvmlDeviceGetHandleByIndex: ")
    assert LOST == 15


async def test_too_many_shares(node: Node, kubelet: FakeKubelet) -> None:
    """The kubelet's error states the limit and the number found."""
    sharing = "{timeSlicing: {failRequestsGreaterThanOne: true, resources: [{name: nvidia.com/gpu, replicas: 4}]}}"
    gpus = GpuNode(node, "pair")
    gpus.start(f"sharing: {sharing}")
    await kubelet.wait_for(GPU, 8)
    async with dialled(node.sockets()[0]) as client:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await client.Allocate(asking_for(*(f"{uuid}::0" for uuid in gpus.uuids())))
    assert "maximum request size for shared resources is 1, found 2" in str(error.value.details())


async def test_the_configuration_by_a_variable(node: Node, kubelet: FakeKubelet) -> None:
    """CONFIG_FILE names the file, as for NVIDIA's plugin."""
    (node.directory / "nvidia.yaml").write_text("version: v1\nflags: {migStrategy: single}\n")
    GpuNode(node, "a100x2", "1g").start(CONFIG_FILE=str(node.directory / "nvidia.yaml"))
    await kubelet.wait_for(GPU, 14)


async def test_a_wrong_configuration(node: Node) -> None:
    """Nothing is started, and the error names the location of the mistake."""
    plugin = GpuNode(node, "pair").start("flags: {migStrategi: none}")
    assert await plugin.exited() == Exit.USAGE
    assert 'flags: unknown key "migStrategi"' in plugin.lines("plugin not started")[0]["reason"]
