"""The GPU plugin on real GPUs; skipped where no NVIDIA driver is loaded."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from hub import Host, ResetDevice
from hub.reset.result import Outcome
from hub.reset.runner import ResetRunner
from hub.testing.kubelet import FakeKubelet
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.cdi.driverfiles import libraries
from plugins.gpu.cdi.spec import make_specs
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.mps.daemon import MpsDaemon, MpsLimits
from plugins.gpu.nvml.driver import Driver
from plugins.gpu.reset.settings import ResetSettings
from plugins.gpu.settings.file import GPUSettings
from plugins.gpu.settings.levels import ResetLevel
from tests.harness.gpu_support import GPU, answer
from tests.harness.node import Node

pytestmark = [
    pytest.mark.hardware,
    pytest.mark.skipif(not Path("/proc/driver/nvidia/version").exists(), reason="no NVIDIA driver is loaded"),
]

CLIENT = """
import ctypes
import sys

cuda = ctypes.CDLL("libcuda.so.1")
device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
assert cuda.cuInit(0) == 0
assert cuda.cuDeviceGet(ctypes.byref(device), 0) == 0
assert cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device) == 0
for size in sys.argv[1:]:
    print(size, cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(int(size) << 20)), flush=True)
sys.stdin.read()
"""
"""A program that allocates memory on the first GPU, in sizes given in MiB, and prints what each call returned."""

ALLOCATED, OUT_OF_MEMORY = 0, 2

FAULTING = """
import ctypes

KERNEL = b'''
.version 6.0
.target sm_50
.address_size 64
.visible .entry fault() {
    .reg .u64 %address;
    .reg .u32 %value;
    mov.u64 %address, 16;
    mov.u32 %value, 1;
    st.global.u32 [%address], %value;
    ret;
}
'''
cuda = ctypes.CDLL("libcuda.so.1")
device, context, module, kernel = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
assert cuda.cuInit(0) == 0
assert cuda.cuDeviceGet(ctypes.byref(device), 0) == 0
assert cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device) == 0
assert cuda.cuModuleLoadData(ctypes.byref(module), KERNEL) == 0
assert cuda.cuModuleGetFunction(ctypes.byref(kernel), module, b"fault") == 0
assert cuda.cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, None, None, None) == 0
print(cuda.cuCtxSynchronize())
"""
"""A program that writes where it has no memory on the first GPU, which causes XID 31, and prints what CUDA returned."""

ILLEGAL_ADDRESS = 700


@contextmanager
def _client(*sizes: int, **variables: str) -> Iterator[tuple[int, dict[int, int]]]:
    """Run that program during the block; yield its process id, and what each allocation returned."""
    command = [sys.executable, "-c", CLIENT, *map(str, sizes)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=os.environ | variables, text=True, **pipes) as process:
        assert process.stdout
        lines = [process.stdout.readline().split() for _ in sizes]
        yield process.pid, {int(size): int(code) for size, code in lines}


def _run(program: str) -> str:
    """Run a program, and return its output."""
    return subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture(scope="module")
def driver() -> Driver:
    """Load the real driver only once, as the plugin does: threads that wait for XIDs block each other."""
    return Driver(DriverPaths(Host()), lambda _xid: None, lambda: None)


def test_discovery(driver: Driver) -> None:
    """Each GPU has what a container and a scheduler need, and no fault."""
    view = driver.poll(30)
    assert view.reason == ""
    assert view.gpus
    for gpu in view.gpus:
        assert gpu.uuid.startswith("GPU-")
        assert Path(gpu.device_file).exists()
        # The size is unknown on GPUs that use the processor's memory.
        assert gpu.memory is None or gpu.memory > 1 << 30
        assert gpu.compute_capability
        assert gpu.compute_capability >= (5, 0)
        assert gpu.fault == ""
    assert driver.poll(30) == view


async def test_allocation(node: Node, kubelet: FakeKubelet, driver: Driver) -> None:
    """A container gets a GPU by its UUID; the plugin receives the driver's errors."""
    gpus = driver.poll(30).gpus
    plugin = node.start_plugin("plugins.gpu:GPU", name="gpu", config="flags: {plugin: {passDeviceSpecs: true}}")
    await kubelet.wait_for(GPU, len(gpus), timeout=60)
    got = answer(await kubelet.admit("job", {GPU: 1}))
    (gpu,) = [gpu for gpu in gpus if gpu.uuid == got.envs["NVIDIA_VISIBLE_DEVICES"]]
    assert f"/dev/nvidia{gpu.minor}" in [node.host_path for node in got.devices]
    assert not plugin.lines("xid monitoring changed")


async def test_clean(driver: Driver) -> None:
    """A free GPU is checked and cleaned; what the card does not support is skipped."""
    gpu = driver.poll(30).gpus[0]
    settings = ResetSettings(levels={gpu.uuid: ResetLevel.CLEAN})
    resetter = ResetRunner("plugins.gpu.reset:reset", lambda: settings)
    result = (await resetter.reset([ResetDevice(gpu.uuid)], 25))[gpu.uuid]
    assert result.outcome is Outcome.OK, result.message


def test_health(driver: Driver) -> None:
    """Repeated probes of a real GPU find nothing, and each is answered well within its limit."""
    for _ in range(20):
        view = driver.poll(5)
        assert [(gpu.fault, gpu.findings) for gpu in view.gpus if gpu.fault or gpu.findings] == []
        assert view.unknown == ()


async def test_a_gpu_in_use(driver: Driver) -> None:
    """A process that uses a GPU for computing is found and named, until it exits."""
    gpu = driver.poll(30).gpus[0]
    settings = ResetSettings(levels={gpu.uuid: ResetLevel.CHECK}, timeout=1)
    resetter = ResetRunner("plugins.gpu.reset:reset", lambda: settings)
    with _client(64) as (pid, _):
        result = (await resetter.reset([ResetDevice(gpu.uuid)], 25))[gpu.uuid]
        assert (result.outcome, f"process {pid} " in result.message) == (Outcome.FAILED, True), result.message
    result = (await resetter.reset([ResetDevice(gpu.uuid)], 25))[gpu.uuid]
    assert result.outcome is Outcome.OK, result.message


async def test_an_xid_of_a_program(node: Node, kubelet: FakeKubelet, driver: Driver) -> None:
    """An error that a program causes is reported by the driver, and the GPU is allocatable once it has recovered."""
    uuid = driver.poll(30).gpus[0].uuid
    config = "dphub: {health: {interval: 1, stable_for: 2, xids: {recover: [31]}}}"
    plugin = node.start_plugin("plugins.gpu:GPU", name="gpu", config=config)
    healthy = len(driver.poll(30).gpus)
    await kubelet.wait_for(GPU, healthy, timeout=60)
    assert await asyncio.to_thread(_run, FAULTING) == f"{ILLEGAL_ADDRESS}\n"
    await kubelet.wait_for(GPU, healthy - 1, timeout=60)
    assert [(line["gpu"], line["code"], line["meaning"]) for line in plugin.lines("xid received")] == [
        (uuid, 31, "recover")
    ]
    await kubelet.wait_for(GPU, healthy, timeout=60)


def test_cdi(driver: Driver) -> None:
    """The specification contains the driver, and no file that does not exist."""
    state = driver.poll(30)
    settings = msgspec.convert({"flags": {"plugin": {"deviceListStrategy": "cdi-cri"}}}, GPUSettings)
    paths = DriverPaths(Host())
    files = DeviceFiles(paths, settings.imex)
    files.refresh(state.gpus)
    specification = make_specs(settings, paths, files, state.gpus, libraries(paths, state.driver))["gpu"]
    edits = [specification["containerEdits"], *(device["containerEdits"] for device in specification["devices"])]
    mounts = {mount["hostPath"] for edit in edits for mount in edit.get("mounts", ())}
    nodes = {node.get("hostPath", node["path"]) for edit in edits for node in edit.get("deviceNodes", ())}
    assert f"libcuda.so.{state.driver}" in {Path(path).name for path in mounts}
    assert [path for path in sorted(mounts | nodes) if not Path(path).exists()] == []


def test_mps(directory: Path) -> None:
    """NVIDIA's daemon limits the memory of a client, and stops. The compute mode of the GPUs is left as it is."""
    daemon = MpsDaemon(DriverPaths(Host()), str(directory), "nvidia.com/gpu.shared")
    limits = MpsLimits(gpus={}, memory={"0": 1024}, replicas=4)
    daemon.start(limits)
    try:
        assert daemon.is_running()
        with _client(256, 2048, CUDA_MPS_PIPE_DIRECTORY=str(directory / "nvidia.com/gpu.shared/pipe")) as (_, codes):
            assert codes == {256: ALLOCATED, 2048: OUT_OF_MEMORY}
    finally:
        daemon.quit(limits)
    assert not daemon.is_running()
