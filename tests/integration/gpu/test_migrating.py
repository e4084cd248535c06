"""A cluster that runs NVIDIA's plugin migrates: its configurations give the same resources and responses."""

import re
import shutil
from collections.abc import Iterator

import pytest

from hub.testing.kubelet import AdmissionError, FakeKubelet
from hub.testing.waiting import wait_until
from tests.harness.gpu_support import GPU, GpuNode, answer
from tests.harness.node import Node
from tests.simulators.nvml.library import HERE as SIMULATOR

CDI = "k8s.device-plugin.nvidia.com"

TIME_SLICING = """
version: v1
flags:
  migStrategy: none
sharing:
  timeSlicing:
    renameByDefault: {rename}
    failRequestsGreaterThanOne: {single}
    resources:
    - name: nvidia.com/gpu
      replicas: 10
"""

MPS = """
version: v1
sharing:
  mps:
    resources:
    - name: nvidia.com/gpu
      replicas: 10
"""

MIXED = """
version: v1
flags:
  migStrategy: "mixed"
  failOnInitError: true
  nvidiaDriverRoot: "/"
  plugin:
    passDeviceSpecs: true
    deviceListStrategy: "envvar"
    deviceIDStrategy: "uuid"
"""

WITH_CDI = """
version: v1
flags:
  plugin:
    deviceListStrategy:
    - cdi-annotations
    - cdi-cri
"""


async def test_time_slicing(node: Node, kubelet: FakeKubelet) -> None:
    """Each GPU has ten shares under the usual name; a container gets the GPU itself."""
    gpus = GpuNode(node)
    gpus.start(TIME_SLICING.format(rename="false", single="false"))
    await kubelet.wait_for(GPU, 80)
    assert {device.id for device in kubelet.devices(GPU)} == {
        f"{uuid}::{n}" for uuid in gpus.uuids() for n in range(10)
    }
    got = answer(await kubelet.admit("two", {GPU: 2}))
    assert got.envs == {"NVIDIA_VISIBLE_DEVICES": f"{gpus.uuids()[0]},{gpus.uuids()[1]}"}


async def test_time_slicing_with_a_name_of_its_own(node: Node, kubelet: FakeKubelet) -> None:
    """The shares are served as nvidia.com/gpu.shared; a request for two is refused."""
    gpus = GpuNode(node, "single")
    gpus.start(TIME_SLICING.format(rename="true", single="true"))
    await kubelet.wait_for("nvidia.com/gpu.shared", 10)
    await kubelet.admit("one", {"nvidia.com/gpu.shared": 1})
    with pytest.raises(AdmissionError, match="maximum request size for shared resources is 1, found 2"):
        await kubelet.admit("two", {"nvidia.com/gpu.shared": 2})


@pytest.fixture
def sharing(node: Node) -> Iterator[GpuNode]:
    """Create a node with a GPU and NVIDIA's MPS program; no daemons remain afterwards."""
    gpus = GpuNode(node, "single")
    shutil.copy(SIMULATOR / "nvidia-cuda-mps-control", gpus.root / "usr/bin")
    yield gpus
    for plugin in node.plugins:
        plugin.kill()
    gpus.end_daemons()


async def test_mps(sharing: GpuNode, kubelet: FakeKubelet) -> None:
    """Ten clients of each GPU get the daemon's directories; the daemon is stopped when MPS is no longer configured."""
    plugin = sharing.start(MPS)
    await kubelet.wait_for(GPU, 10)
    got = answer(await kubelet.admit("client", {GPU: 1}))
    assert got.envs == {
        "NVIDIA_VISIBLE_DEVICES": sharing.uuids()[0],
        "CUDA_MPS_PIPE_DIRECTORY": "/mps/nvidia.com/gpu/pipe",
    }
    assert [(mount.host_path, mount.container_path, mount.read_only) for mount in got.mounts] == [
        ("/run/nvidia/mps/nvidia.com/gpu/pipe", "/mps/nvidia.com/gpu/pipe", False),
        ("/run/nvidia/mps/shm", "/dev/shm", False),  # noqa: S108 - in the container
    ]
    await plugin.stop()
    sharing.start("version: v1")
    await kubelet.wait_for(GPU, 1)
    await wait_until(lambda: not sharing.daemons(), "the daemon's exit")


async def test_mixed_mig(node: Node, kubelet: FakeKubelet) -> None:
    """Each size has a resource, with its device files by minor number and capability."""
    gpus = GpuNode(node, "a100x2", {1: "mixed"})
    gpus.start(MIXED)
    sizes = {"gpu": 1, "mig-1g.5gb": 1, "mig-1g.5gb.me": 1, "mig-2g.10gb": 1, "mig-3g.20gb": 1}
    for name, count in sizes.items():
        await kubelet.wait_for(f"nvidia.com/{name}", count)
    got = answer(await kubelet.admit("job", {"nvidia.com/mig-3g.20gb": 1}))
    assert got.envs == {"NVIDIA_VISIBLE_DEVICES": gpus.driver.gpus[1].migs[0].uuid}
    assert [(node.host_path, node.container_path, node.permissions) for node in got.devices] == [
        (path, path, "rw")
        for path in (
            "/dev/nvidiactl",
            "/dev/nvidia-uvm",
            "/dev/nvidia-uvm-tools",
            "/dev/nvidia-modeset",
            "/dev/nvidia0",
            "/dev/nvidia-caps/nvidia-cap3",
            "/dev/nvidia-caps/nvidia-cap4",
        )
    ]


async def test_cdi(node: Node, kubelet: FakeKubelet) -> None:
    """The container runtime gets the names, in two ways, and a file that defines them."""
    gpus = GpuNode(node, "single")
    gpus.start(WITH_CDI)
    await kubelet.wait_for(GPU, 1)
    got = answer(await kubelet.admit("job", {GPU: 1}))
    name = f"{CDI}/gpu={gpus.uuids()[0]}"
    assert got.cdi_devices == (name,)
    ((key, value),) = got.annotations.items()
    assert re.fullmatch(r"cdi\.k8s\.io/nvidia-device-plugin_[0-9a-f-]{36}", key)
    assert (value, got.envs, got.devices, got.mounts) == (name, {}, (), ())
    assert gpus.uuids()[0] in (gpus.root / f"var/run/cdi/{CDI}-gpu.json").read_text()


async def test_a_cdi_file_that_cannot_be_written(node: Node, kubelet: FakeKubelet) -> None:
    """No container could use the names, so the GPUs are unhealthy for that reason until the file can be written."""
    gpus = GpuNode(node, "single")
    (gpus.root / "var/run").mkdir(parents=True)
    (gpus.root / "var/run/cdi").write_text("in the way")
    plugin = gpus.start(f"{WITH_CDI}dphub: {{health: {{interval: 0.1, stable_for: 0}}}}")
    await plugin.resource_until(
        lambda state: bool(state.devices) and "the CDI file cannot be written" in state.devices[0].reason, GPU
    )
    (gpus.root / "var/run/cdi").unlink()
    await kubelet.wait_for(GPU, 1)


async def test_volume_mounts_by_index(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin can be configured by environment variables alone, as many charts do."""
    gpus = GpuNode(node, "single")
    gpus.start(DEVICE_LIST_STRATEGY="volume-mounts", DEVICE_ID_STRATEGY="index", GDS_ENABLED="false")
    await kubelet.wait_for(GPU, 1)
    got = answer(await kubelet.admit("job", {GPU: 1}))
    assert got.envs == {"NVIDIA_VISIBLE_DEVICES": "/var/run/nvidia-container-devices"}
    assert [(mount.host_path, mount.container_path) for mount in got.mounts] == [
        ("/dev/null", "/var/run/nvidia-container-devices/0")
    ]


async def test_a_lost_gpu_does_not_make_other_admissions_fail(node: Node, kubelet: FakeKubelet) -> None:
    """Pods get the other GPUs, both before the plugin notices the loss and afterwards.

    NVIDIA's plugin queries all GPUs when it chooses some, and then every pod on the node fails (k8s-device-plugin
    #2038).
    """
    gpus = GpuNode(node, "pcie8")
    gpus.start("dphub: {health: {interval: 0.1, stable_for: 0}}")
    await kubelet.wait_for(GPU, 8)
    gpus.driver.lose(7)
    await kubelet.admit("early", {GPU: 2})
    await kubelet.wait_for(GPU, 7)
    given = [answer(await kubelet.admit(f"job-{count}", {GPU: count})) for count in (3, 2)]
    assert all(gpus.uuids()[7] not in each.envs["NVIDIA_VISIBLE_DEVICES"] for each in given)
