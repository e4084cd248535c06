"""The simulated driver behaves as NVML's documentation says, through NVIDIA's own bindings."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.simulators.nvml import LOST, MISMATCH, SimulatedNode

HEAD = """
import json, pynvml as n
def handle(i): return n.nvmlDeviceGetHandleByIndex(i)
def show(value): print(json.dumps(value), flush=True)
def error(function, *args):
    try: function(*args)
    except n.NVMLError as e: return e.value
n.nvmlInit()
"""


def _run(node: SimulatedNode, code: str, timeout: float = WAIT_SECONDS) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code],
        env=os.environ | node.environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def _started(node: SimulatedNode, directory: Path, code: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process that runs the code, until the block ends at the latest."""
    command = [sys.executable, "-c", HEAD + code]
    environment = os.environ | node.environment
    with subprocess.Popen(command, env=environment, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("profile", ["none", "single", "pair", "mesh8", "switch8", "pcie16"])
def test_profiles(tmp_path: Path, profile: str) -> None:
    """GPUs answer as their profile says, and their device files and PCI entries are there."""
    node = SimulatedNode(tmp_path, profile)
    found = _run(
        node,
        "for i in range(n.nvmlDeviceGetCount()):\n"
        "    h = handle(i)\n"
        "    show([n.nvmlDeviceGetUUID(h), n.nvmlDeviceGetMinorNumber(h), n.nvmlDeviceGetPciInfo(h).busId,"
        " n.nvmlDeviceGetMemoryInfo(h, n.nvmlMemory_v2).total])",
    )
    assert found == [[gpu.uuid, gpu.minor, f"0000{gpu.pci}".upper(), gpu.memory] for gpu in node.gpus]
    for gpu in node.gpus:
        assert (tmp_path / f"dev/nvidia{gpu.minor}").exists()
        assert (tmp_path / "sys/bus/pci/devices" / gpu.pci / "numa_node").read_text() == f"{gpu.numa}\n"


def test_links(tmp_path: Path) -> None:
    """NVLinks lead to the peers of the profile, and PCIe paths meet where they should."""
    node = SimulatedNode(tmp_path, "mesh8")
    ends, levels = _run(
        node,
        "show([n.nvmlDeviceGetNvLinkRemotePciInfo(handle(0), k).busId for k in range(6)])\n"
        "show([n.nvmlDeviceGetTopologyCommonAncestor(handle(0), handle(k)) for k in (1, 2, 7)])",
    )
    buses = [f"0000{node.gpus[number].pci}".upper() for number in (1, 2, 3, 3, 4, 4)]
    assert (ends, levels) == (buses, [10, 30, 50])


def test_mig(tmp_path: Path) -> None:
    """MIG devices have names, instances and handles; a GPU without MIG devices lists none."""
    node = SimulatedNode(tmp_path, "a100x2", {1: "compute"})
    found = _run(
        node,
        "m = n.nvmlDeviceGetMigDeviceHandleByIndex(handle(1), 0)\n"
        "show([n.nvmlDeviceGetName(m), n.nvmlDeviceGetGpuInstanceId(m), n.nvmlDeviceGetComputeInstanceId(m)])\n"
        "a = n.nvmlDeviceGetAttributes(m)\n"
        "show([a.gpuInstanceSliceCount, a.computeInstanceSliceCount])\n"
        "show(error(n.nvmlDeviceGetMigDeviceHandleByIndex, handle(0), 0))",
    )
    assert found == [["NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb", 1, 0], [3, 1], 6]


def test_faults(tmp_path: Path) -> None:
    """Each call fails as long as configured, and only for the GPU in question."""
    node = SimulatedNode(tmp_path, "pair")
    node.lose(1)
    node.unsupported(0, "nvmlDeviceGetComputeMode")
    node.set(0, ecc_volatile=3)
    assert _run(
        node,
        "show([error(handle, 0), error(handle, 1), error(n.nvmlDeviceGetComputeMode, handle(0))])\n"
        "show(n.nvmlDeviceGetTotalEccErrors(handle(0), 1, 0))",
    ) == [[None, LOST, 3], 3]
    node.repair(1)
    assert _run(node, "show(error(handle, 1))") == [None]
    node.mismatch()
    with pytest.raises(AssertionError, match="LibRmVersionMismatch"):
        _run(node, "")
    node.clear_faults()
    assert MISMATCH == 18
    _run(node, "")


def test_processes_see_what_others_set(tmp_path: Path) -> None:
    """What one process sets, the next one and the test can read."""
    node = SimulatedNode(tmp_path, "single")
    _run(node, "n.nvmlDeviceSetComputeMode(handle(0), 3)")
    assert _run(node, "show(n.nvmlDeviceGetComputeMode(handle(0)))") == [3]
    assert node.value(0, "compute_mode") == 3
    node.processes(0, (4711, 1 << 20, "python"))
    assert _run(node, "show([p.pid for p in n.nvmlDeviceGetComputeRunningProcesses(handle(0))])") == [[4711]]


async def test_every_waiter_gets_each_event(tmp_path: Path) -> None:
    """Two processes wait; none takes an event from the other, and none receives events of other GPUs."""
    node = SimulatedNode(tmp_path, "pair")
    code = (
        "s = n.nvmlEventSetCreate()\n"
        "n.nvmlDeviceRegisterEvents(handle(1), n.nvmlEventTypeXidCriticalError, s)\n"
        "open('ready%s', 'w').close()\n"
        "for _ in range(2):\n"
        "    e = n.nvmlEventSetWait_v2(s, 60000)\n"
        "    show([n.nvmlDeviceGetUUID(e.device), e.eventData, e.gpuInstanceId])\n"
        "show(error(n.nvmlEventSetWait_v2, s, 1))"
    )
    with ExitStack() as ends:
        waiters = [ends.enter_context(_started(node, tmp_path, code % number)) for number in range(2)]
        await wait_until(lambda: len(list(tmp_path.glob("ready*"))) == 2, "two waiters")
        node.xid(0, 13)
        node.xid(1, 79)
        node.xid(1, 48, gi=3)
        said = [waiter.communicate(timeout=WAIT_SECONDS)[0] for waiter in waiters]
    uuid = node.gpus[1].uuid
    for out in said:
        assert [json.loads(line) for line in out.splitlines()] == [[uuid, 79, 0xFFFFFFFF], [uuid, 48, 3], 10]


def test_a_call_that_hangs(tmp_path: Path) -> None:
    """The call hangs until it is released; other calls continue in the meantime."""
    node = SimulatedNode(tmp_path, "single")
    node.hang("nvmlDeviceGetMinorNumber")
    assert _run(node, "show(n.nvmlDeviceGetName(handle(0)))") == [node.gpus[0].name]
    with pytest.raises(subprocess.TimeoutExpired):
        _run(node, "n.nvmlDeviceGetMinorNumber(handle(0))", timeout=1)
    node.clear_faults()
    assert _run(node, "show(n.nvmlDeviceGetMinorNumber(handle(0)))") == [0]


def test_nvidia_smi(tmp_path: Path) -> None:
    """The simulated nvidia-smi resets a GPU, sets its compute mode, and fails on request."""
    node = SimulatedNode(tmp_path, "pair")
    node.lose(1)

    def smi(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([tmp_path / "usr/bin/nvidia-smi", *args], capture_output=True, text=True, check=False)

    uuid = node.gpus[1].uuid
    assert smi("--gpu-reset", "-i", uuid).stdout == f"GPU {uuid} was successfully reset.\n"
    assert _run(node, "show(error(handle, 1))") == [None]
    assert smi("-i", uuid, "-c", "EXCLUSIVE_PROCESS").returncode == 0
    assert (node.value(1, "gpu_reset"), node.value(1, "compute_mode")) == (1, 3)
    node.nvidia_smi("fail GPU is in use")
    assert (smi("--gpu-reset", "-i", uuid).returncode, smi("-i", uuid).stdout) == (3, "GPU is in use\n")


def test_gpus_come_and_go(tmp_path: Path) -> None:
    """The driver numbers the GPUs again, and the device files change with them."""
    node = SimulatedNode(tmp_path, "pair")
    gone = node.unplug(0)
    assert _run(node, "show([n.nvmlDeviceGetCount(), n.nvmlDeviceGetUUID(handle(0))])") == [[1, node.gpus[0].uuid]]
    assert not (tmp_path / f"dev/nvidia{gone.minor}").exists()
    assert not (tmp_path / "sys/bus/pci/devices" / gone.pci).exists()
    node.plug(gone)
    assert _run(node, "show(n.nvmlDeviceGetUUID(handle(1)))") == [gone.uuid]
