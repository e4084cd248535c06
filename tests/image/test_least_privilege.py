"""What each mount and each privilege of the pod is for: without it, something named here fails.

The node has simulated GPUs and adapters. The pod is the one in the manifests, with this image in it.
"""

import asyncio
import os
import shutil
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub.testing.kubelet import FakeKubelet
from plugins.ib.deviceinfo import DIRECTORY as DEVICE_INFO
from tests.image.manifest import POD_NAME, component, pod_of, read_base, without_volume
from tests.image.pod import GRACE, ContainerSpec, Pod, StartPod
from tests.simulators.nvml import SimulatedNode
from tests.simulators.nvml.library import simulated_library
from tests.simulators.nvml.tree import LIBRARIES
from tests.simulators.rdma.tree import two_connectx6

GPU, ADAPTER = "nvidia.com/gpu", "rdma/hca"

GPU_CONFIG = "version: v1\nflags: {plugin: {deviceListStrategy: [cdi-cri]}}\n"
IB_CONFIG = "resourceList: [{resourceName: x, selectors: {isRdma: true}}]\n"
MPS_CONFIG = f"version: v1\nsharing: {{mps: {{resources: [{{name: {GPU}, replicas: 2}}]}}}}\n"

ROUTES = "Iface Destination Gateway Flags RefCnt Use Metric Mask\nib0 00000000 0101A8C0 0003 0 0 0 00000000\n"
"""The node's routing table, with the default route on the first adapter."""

KERNEL_LOG = (1, 11)
"""The number of a device that exists on every machine and that runtimes assign to no container."""

DEVICE_NODES = {"null": (1, 3), "zero": (1, 5), "urandom": (1, 9)}
"""The device nodes that every program expects in /dev."""

ENDS = {
    "config": "/etc/dphub/circus.ini: no such file",
    "run": "/run/dphub: cannot be used as the run directory",
}
"""What a hub logs when it exits because a mount is missing."""

SHOWS = {
    "device-plugins": "there is no kubelet at /var/lib/kubelet/device-plugins",
    "pod-resources": "cannot determine which containers use which devices",
    "dev": "/dev/infiniband/uverbs1 does not exist, so no container with device 0000:87:00.0 can start",
    "sys": "/sys/class/infiniband does not exist",
    # Without this mount, the adapter that the node's own traffic needs can be allocated.
    "node-net": f"{ADAPTER} registered 2 of 2",
    "driver-root": "no NVIDIA driver is loaded on this node",
    "cdi": "the CDI file cannot be written",
}
"""What `dphub status` shows when a mount is missing."""

OPEN = "open('/dev/infiniband/uverbs1').close()"
WRITE_TO_SYS = "open('/sys/class/infiniband_verbs/abi_version', 'a').close()"
USERS = """
from pathlib import Path
from hub import Host
from plugins.ib.reset.function import Function
print(*Function(Host(Path("/")), "0000:87:00.0").holders())
"""


@pytest.fixture
def host(node: Path) -> Path:
    """Return a node's file system, with GPUs, adapters, and the default route on one of them."""
    root = node / "host"
    root.mkdir()
    two_connectx6(root)
    SimulatedNode(root)
    library = next((root / LIBRARIES).glob("libnvidia-ml.so.*.*"))
    library.unlink()
    shutil.copy(simulated_library(), library)
    for name, number in DEVICE_NODES.items():
        os.mknod(root / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(*number))
    (root / "dev/infiniband/uverbs1").unlink()
    os.mknod(root / "dev/infiniband/uverbs1", 0o600 | stat.S_IFCHR, os.makedev(*KERNEL_LOG))
    for device in (root / "sys/bus/pci/devices/0000:87:00.0").resolve().glob("infiniband_*/*"):
        (device / "dev").write_text("{}:{}\n".format(*KERNEL_LOG))
    (root / "dev/shm").mkdir()
    (root / "proc/1/net").mkdir(parents=True)
    (root / "proc/1/net/route").write_text(ROUTES)
    (node / "config").mkdir()
    (node / "config/gpu.yaml").write_text(GPU_CONFIG)
    return root


@pytest.fixture
async def kubelet(host: Path) -> AsyncIterator[FakeKubelet]:
    """Run the node's kubelet."""
    async with FakeKubelet(host / "var/lib/kubelet/device-plugins") as kubelet:
        yield kubelet


def _wanted(host: Path, manifest: dict[str, Any], without: str = "") -> ContainerSpec:
    """Return the specification of the pod, without one of its volumes."""
    without_volume(manifest, without)
    wanted = pod_of(manifest, host)
    # The simulated driver looks for the node's GPUs there.
    wanted.env["NVML_SIMULATOR"] = "/driver-root/simulator/nvml"
    return wanted


async def _status(pod: Pod) -> str:
    """Return what `dphub status` shows, with one space between words."""
    return " ".join((await pod.exec("dphub", "status"))[1].split())


async def _shows(pod: Pod, text: str) -> None:
    """Wait until `dphub status` shows a string."""
    shown = ""
    with suppress(TimeoutError):
        async with asyncio.timeout(GRACE):
            while text not in shown:
                shown = await _status(pod)
    assert text in shown


def test_every_mount_is_taken_away_in_a_test() -> None:
    """The tables here name every volume of the DaemonSet."""
    volumes = [volume["name"] for volume in read_base()["spec"]["template"]["spec"]["volumes"]]
    assert sorted(volumes) == sorted([*ENDS, *SHOWS])


async def test_with_all_of_them_nothing_fails(kubelet: FakeKubelet, start_pod: StartPod, host: Path) -> None:
    """GPUs and adapters register, the status shows their use, and the adapter with the node's route is excluded."""
    pod = start_pod(_wanted(host, read_base()))
    await kubelet.wait_for(GPU, 8, GRACE)
    await kubelet.wait_for(ADAPTER, 1, GRACE)
    status = await _status(pod)
    assert [text for text in SHOWS.values() if text in status] == []


async def test_only_root_reaches_the_pods_sockets(kubelet: FakeKubelet, start_pod: StartPod, host: Path) -> None:
    """Only root can use the plugins' sockets next to the kubelet's, and the run directory with its control sockets."""
    start_pod(_wanted(host, read_base()))
    await kubelet.wait_for(ADAPTER, 1, GRACE)
    sockets = [*(host / "var/lib/kubelet/device-plugins").glob(f"{POD_NAME}-*.sock")]
    assert len(sockets) >= 1
    for path in (*sockets, host / "run/dphub"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o077) == (0, 0), path


async def test_the_pod_has_one_socket_on_the_network(kubelet: FakeKubelet, start_pod: StartPod, host: Path) -> None:
    """No process in the pod has a connection; one port is open, for HTTP."""
    pod = start_pod(_wanted(host, read_base()))
    await kubelet.wait_for(GPU, 8, GRACE)
    await kubelet.wait_for(ADAPTER, 1, GRACE)
    tables = Path("/proc", str(pod.processes()[0].pid), "net")
    found = [line.split() for name in ("tcp", "tcp6", "udp", "udp6") for line in _lines(tables / name)]
    # These tables are the same for each process of the pod. 0A is a listening socket.
    assert found
    assert {(int(local.rpartition(":")[2], 16), state) for _, local, _, state, *_ in found} == {(9880, "0A")}


def _lines(table: Path) -> list[str]:
    """Return the sockets in one of the kernel's tables; IPv6 may be off."""
    return table.read_text().splitlines()[1:] if table.exists() else []


@pytest.mark.parametrize("volume", SHOWS)
async def test_what_fails_without_a_mount(kubelet: FakeKubelet, start_pod: StartPod, host: Path, volume: str) -> None:
    """The hub keeps running, and its status shows what is missing."""
    assert kubelet.starts == 1
    await _shows(start_pod(_wanted(host, read_base(), without=volume)), SHOWS[volume])


@pytest.mark.parametrize("volume", ENDS)
async def test_what_the_hub_cannot_start_without(start_pod: StartPod, host: Path, volume: str) -> None:
    """The hub exits with an error that names the file or directory."""
    (host / "var/lib/kubelet/device-plugins").mkdir(parents=True)
    (host / "var/lib/kubelet/pod-resources").mkdir()
    pod = start_pod(_wanted(host, read_base(), without=volume))
    assert await pod.ended(GRACE) != 0
    assert ENDS[volume] in pod.log


async def test_a_user_other_than_root_cannot_run_it(kubelet: FakeKubelet, start_pod: StartPod, host: Path) -> None:
    """The kubelet's plugin directory belongs to root, as the error says."""
    pod = start_pod(replace(_wanted(host, read_base()), user=1000))
    assert await pod.ended(GRACE) != 0
    assert "plugins cannot create sockets in it as user 1000; run dphub as user root" in pod.log
    assert kubelet.capacity() == {}


@pytest.mark.usefixtures("kubelet")
@pytest.mark.parametrize(("privileged", "code"), [(True, 0), (False, 1)])
async def test_only_a_privileged_container_opens_device_files(
    start_pod: StartPod, host: Path, code: int, *, privileged: bool
) -> None:
    """Without `privileged`, the kernel denies access to a device that the kubelet did not assign to the container."""
    wanted = replace(_wanted(host, read_base()), command=["python", "-c", OPEN], privileged=privileged)
    pod = start_pod(wanted)
    assert await pod.ended(GRACE) == code
    assert ("Operation not permitted" in pod.log) is not privileged


@pytest.mark.usefixtures("kubelet")
@pytest.mark.parametrize(
    ("host_pid", "dropped", "found"),
    [(True, "", True), (False, "", False), (True, "CAP_SYS_PTRACE", False)],
    ids=["all", "hostPID", "CAP_SYS_PTRACE"],
)
async def test_what_finds_the_users_of_a_device(
    start_pod: StartPod, host: Path, dropped: str, *, host_pid: bool, found: bool
) -> None:
    """With `resets`, a process outside the pod that has opened an adapter is found, so the adapter is not reset."""
    wanted = _wanted(host, component("resets"))
    assert wanted.host_pid
    wanted = replace(wanted, command=["python", "-c", USERS], host_pid=host_pid, dropped=frozenset({dropped}))
    with (host / "dev/infiniband/uverbs1").open("rb"):
        pod = start_pod(wanted)
        assert await pod.ended(GRACE) == 0, pod.log
    assert (f"process {os.getpid()} " in pod.output) is found


@pytest.mark.usefixtures("kubelet")
@pytest.mark.parametrize(("name", "code"), [("resets", 0), ("pod-monitor", 1)])
async def test_only_resets_can_write_to_sys(start_pod: StartPod, host: Path, name: str, code: int) -> None:
    """Without the component, /sys is read-only."""
    wanted = replace(_wanted(host, component(name)), command=["python", "-c", WRITE_TO_SYS])
    pod = start_pod(wanted)
    assert await pod.ended(GRACE) == code
    assert ("Read-only file system" in pod.log) is (code != 0)


def _mps(host: Path, without: str = "") -> ContainerSpec:
    """Return the pod with MPS, and put the simulated daemon on the node."""
    shutil.copy(Path(__file__).parents[1] / "simulators/nvml/nvidia-cuda-mps-control", host / "usr/bin")
    (host.parent / "config/gpu.yaml").write_text(MPS_CONFIG)
    wanted = _wanted(host, component("mps"), without)
    # The simulated daemon keeps a journal in this directory.
    wanted.volumes["/driver-root/simulator"] = host / "simulator"
    return wanted


async def test_mps_shares_memory_through_the_node(kubelet: FakeKubelet, start_pod: StartPod, host: Path) -> None:
    """The daemons' /dev/shm is a directory on the node, which containers with a share also get."""
    pod = start_pod(_mps(host))
    await kubelet.wait_for(GPU, 16, GRACE)
    assert (await pod.exec("touch", "/dev/shm/memory"))[0] == 0  # noqa: S108 - the pod's
    assert (host / "run/nvidia/mps/shm/memory").exists()


@pytest.mark.usefixtures("kubelet")
async def test_mps_fails_without_its_directory(start_pod: StartPod, host: Path) -> None:
    """The daemons cannot be started, and the status shows why."""
    await _shows(start_pod(_mps(host, "mps")), "Read-only file system")


async def test_mps_fails_without_its_shared_memory(kubelet: FakeKubelet, start_pod: StartPod, host: Path) -> None:
    """The daemons' shared memory would be in the node's /dev, which is read-only and invisible to containers."""
    pod = start_pod(_mps(host, "mps-shm"))
    await kubelet.wait_for(GPU, 16, GRACE)
    code, said = await pod.exec("touch", "/dev/shm/memory")  # noqa: S108 - the pod's
    assert (code, "Read-only file system" in said) == (1, True)


@pytest.mark.parametrize("without", ["", "device-info"])
async def test_device_information_needs_its_directory(
    kubelet: FakeKubelet, start_pod: StartPod, host: Path, without: str
) -> None:
    """With `multus`, the node has the files; without the mount they are missing, and containers still start."""
    (host.parent / "config/ib.yaml").write_text(IB_CONFIG)
    start_pod(_wanted(host, component("multus"), without))
    await kubelet.wait_for("intel.com/x", 1, GRACE)
    await kubelet.admit("trainer", {"intel.com/x": 1})
    files = [path.name for path in (host / DEVICE_INFO.removeprefix("/")).iterdir()]
    assert files == ([] if without else ["intel.com-x-0000:87:00.0-device.json"])


async def test_an_unprivileged_pod_serves_adapters(kubelet: FakeKubelet, start_pod: StartPod, host: Path) -> None:
    """The pod has no capability, gains none, opens no device file, and sees only its mounts of the node's files."""
    pod = start_pod(_wanted(host, component("unprivileged")))
    await kubelet.wait_for(ADAPTER, 1, GRACE)
    await kubelet.admit("trainer", {ADAPTER: 1})
    _, status = await pod.exec("grep", "-E", "^(CapEff|CapBnd|NoNewPrivs):", "/proc/1/status")
    assert status.split() == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]
    assert "Operation not permitted" in (await pod.exec("python", "-c", OPEN))[1]
    assert (await pod.exec("test", "-e", "/driver-root"))[0] == 1
