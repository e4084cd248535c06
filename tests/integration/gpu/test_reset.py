"""GPUs are checked, cleaned or reset before a container starts, as configured for their resource."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub import Host, ResetDevice, Runtime
from hub.reset.result import Outcome, ResetResult
from hub.reset.runner import ResetRunner
from hub.testing.kubelet import FakeKubelet
from hub.testing.waiting import wait_until
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.nvml.driverlock import DriverLock, exclusive_driver
from plugins.gpu.reset import hardware
from plugins.gpu.reset.settings import ResetSettings
from plugins.gpu.settings.levels import ResetLevel
from tests.harness.gpu_support import GPU, GpuNode
from tests.harness.node import Node
from tests.simulators.nvml import LOST, NOT_SUPPORTED, UNKNOWN, SimulatedNode

GB = 1 << 30
CHECK, CLEAN, RESET = ResetLevel.CHECK, ResetLevel.CLEAN, ResetLevel.RESET


class GpuResets:
    """Resets of a simulated node's devices in real workers.

    Args:
        root: The node's directory.
        profile: Its GPUs.
        mig: Their MIG layouts.
    """

    def __init__(self, root: Path, profile: str = "switch8", mig: dict[int, str] | None = None) -> None:
        self.driver = SimulatedNode(root, profile, mig)
        self.printed: list[str] = []

    async def reset(
        self, level: ResetLevel, uuid: str = "", *, broken: str = "", deadline: float = 20, patience: float = 0.2
    ) -> ResetResult:
        """Reset a device, by default the first GPU, and return the outcome."""
        uuid = uuid or self.driver.gpus[0].uuid
        settings = ResetSettings(levels={uuid: level}, timeout=patience)
        device = ResetDevice(uuid, (), str(self.driver.root), broken)
        with capture_logs() as log:
            resetter = ResetRunner("plugins.gpu.reset:reset", lambda: settings, term_timeout=0.1)
            result = (await resetter.reset([device], deadline))[uuid]
        self.printed = [str(line["line"]) for line in log if line["event"] == "reset output"]
        return result


@pytest.mark.parametrize("level", [CHECK, CLEAN, RESET])
async def test_a_free_gpu(tmp_path: Path, level: ResetLevel) -> None:
    """A reset of each level succeeds, without a message."""
    gpus = GpuResets(tmp_path)
    result = await gpus.reset(level)
    assert (result.outcome, gpus.printed) == (Outcome.OK, [])
    assert gpus.driver.value(0, "gpu_reset") == (level is RESET)


@pytest.mark.parametrize("level", [CHECK, CLEAN, RESET])
async def test_a_gpu_in_use(tmp_path: Path, level: ResetLevel) -> None:
    """The container is refused with the process id and name of the holder, and the GPU is not changed."""
    gpus = GpuResets(tmp_path)
    (tmp_path / "proc/4711").mkdir()
    (tmp_path / "proc/4711/comm").write_text("miner\n")
    gpus.driver.processes(0, (4711, GB, "x"), (4712, GB, "/usr/bin/train"))
    gpus.driver.set(0, compute_mode=3)
    result = await gpus.reset(level)
    assert result.outcome is Outcome.FAILED
    assert "other processes are using the GPU: process 4711 (miner); process 4712 (/usr/bin/train)" in result.message
    assert (gpus.driver.value(0, "compute_mode"), gpus.driver.value(0, "gpu_reset")) == (3, 0)


@pytest.mark.parametrize("level", [CHECK, CLEAN, RESET])
async def test_a_gpu_on_which_a_process_renders(tmp_path: Path, level: ResetLevel) -> None:
    """This GPU is in use, too, although nothing computes on it and hardly any of its memory is taken."""
    gpus = GpuResets(tmp_path)
    gpus.driver.graphics_processes(0, (4711, 1 << 20, "/usr/bin/blender"))
    gpus.driver.processes(0, (4712, GB, "/usr/bin/train"))
    result = await gpus.reset(level)
    assert result.outcome is Outcome.FAILED
    assert "process 4712 (/usr/bin/train); process 4711 (/usr/bin/blender)" in result.message
    assert gpus.driver.value(0, "gpu_reset") == 0
    gpus.driver.processes(0)
    assert "the GPU: process 4711 (/usr/bin/blender)" in (await gpus.reset(level)).message


async def test_memory_that_was_not_freed(tmp_path: Path) -> None:
    """No process is seen on the GPU, but its memory is in use; what the driver itself uses does not count."""
    gpus = GpuResets(tmp_path)
    gpus.driver.set(0, used=400 << 20)
    assert (await gpus.reset(CHECK)).outcome is Outcome.OK
    gpus.driver.set(0, used=3 * GB)
    assert "3072 MiB of its memory is in use" in (await gpus.reset(CHECK)).message


async def test_a_process_that_is_about_to_exit_is_waited_for(node: Node, kubelet: FakeKubelet) -> None:
    """A process of the last container that exits within seconds does not keep a container from starting."""
    gpus = GpuNode(node, "single")
    gpus.driver.processes(0, (4711, GB, "python"))
    plugin = gpus.start("dphub: {reset: {nvidia.com/gpu: check}}")
    await kubelet.wait_for(GPU, 1)
    admission = asyncio.ensure_future(kubelet.admit("next", {GPU: 1}))
    await wait_until(lambda: _children(plugin.pid), "a reset")
    gpus.driver.repair(0)
    await admission


def _children(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task")
    return [child for task in tasks.iterdir() for child in (task / "children").read_text().split()]


async def test_clean(tmp_path: Path) -> None:
    """Settings return to their defaults; counters are logged before they are cleared."""
    gpus = GpuResets(tmp_path)
    gpus.driver.set(0, compute_mode=3, power=200, power_default=300, ecc_volatile=5)
    assert (await gpus.reset(CLEAN)).outcome is Outcome.OK
    value = gpus.driver.value
    assert (value(0, "compute_mode"), value(0, "power"), value(0, "ecc_volatile")) == (0, 300, 0)
    for done in ("gpu_clocks_reset", "memory_clocks_reset", "application_clocks_reset", "accounting_cleared"):
        assert value(0, done) == 1, done
    assert gpus.printed == ["ECC counters cleared; errors since they were last cleared: 0 corrected, 5 uncorrected"]
    assert value(1, "gpu_clocks_reset") == 0


async def test_what_a_card_does_not_support(tmp_path: Path) -> None:
    """Unsupported steps are skipped and reported; the others are done."""
    gpus = GpuResets(tmp_path)
    gpus.driver.unsupported(0, "nvmlDeviceResetApplicationsClocks", "nvmlDeviceGetPowerManagementDefaultLimit")
    assert (await gpus.reset(CLEAN)).outcome is Outcome.OK
    why = "skipped, because the card or the driver does not support it"
    assert gpus.printed == [f"application clocks: {why}", f"power limit: {why}"]
    assert gpus.driver.value(0, "accounting_cleared") == 1


async def test_what_cannot_be_set(tmp_path: Path) -> None:
    """A setting that cannot be changed keeps the container from starting, with the driver's error."""
    gpus = GpuResets(tmp_path)
    gpus.driver.gpus[0].failures["nvmlDeviceResetGpuLockedClocks"] = UNKNOWN
    gpus.driver.apply()
    result = await gpus.reset(CLEAN)
    assert "the NVIDIA driver failed: nvmlDeviceResetGpuLockedClocks: " in result.message


async def test_a_mig_device(tmp_path: Path) -> None:
    """Only its own processes count; settings of the whole GPU are not changed, which is reported."""
    gpus = GpuResets(tmp_path, "a100x2", {1: "1g"})
    first, second = gpus.driver.gpus[1].migs[:2]
    gpus.driver.processes(1, (4711, GB, "python"), gi=second.gi, ci=second.ci)
    assert (await gpus.reset(RESET, first.uuid)).outcome is Outcome.OK
    assert gpus.printed == [
        "clocks, compute mode and counters belong to the whole GPU and are not changed",
        "the GPU itself was not reset: it is a MIG device, and other containers may be using the rest of its GPU",
    ]
    assert (await gpus.reset(CHECK, second.uuid)).outcome is Outcome.FAILED


@pytest.mark.parametrize(("profile", "words"), [("mesh8", "directly by NVLink"), ("pair", "directly by NVLink")])
async def test_gpus_that_are_only_reset_together(tmp_path: Path, profile: str, words: str) -> None:
    """These GPUs are cleaned, and the log says that the reset was skipped; a reset that should fix a fault fails."""
    gpus = GpuResets(tmp_path, profile)
    assert (await gpus.reset(RESET)).outcome is Outcome.OK
    assert any(words in line for line in gpus.printed)
    assert gpus.driver.value(0, "gpu_reset") == 0
    assert gpus.driver.value(0, "gpu_clocks_reset") == 1


async def test_a_reset_fixes_a_lost_gpu(tmp_path: Path) -> None:
    """A broken GPU is reset without being queried first."""
    gpus = GpuResets(tmp_path)
    gpus.driver.lose(0)
    assert (await gpus.reset(RESET)).outcome is Outcome.FAILED
    assert (await gpus.reset(RESET, broken="XID 79")).outcome is Outcome.OK
    assert gpus.driver.value(0, "gpu_reset") == 1


@pytest.mark.parametrize("level", [CHECK, CLEAN])
async def test_lower_levels_fix_nothing(tmp_path: Path, level: ResetLevel) -> None:
    """A check does not mark a GPU that needs a reset as fixed."""
    result = await GpuResets(tmp_path).reset(level, broken="XID 48: a memory error")
    why = f"XID 48: a memory error; only a reset of the GPU can fix this, but the reset level is {level}"
    assert why in result.message


async def test_nvidia_smi_that_fails(tmp_path: Path) -> None:
    """The program's output is the reason."""
    gpus = GpuResets(tmp_path)
    gpus.driver.nvidia_smi("fail GPU 0 is currently in use by another process")
    result = await gpus.reset(RESET)
    assert "nvidia-smi failed (exit code 3): GPU 0 is currently in use by another process" in result.message


async def test_nvidia_smi_that_is_missing(tmp_path: Path) -> None:
    """The reason says where the program was looked for."""
    gpus = GpuResets(tmp_path)
    (tmp_path / "usr/bin/nvidia-smi").unlink()
    assert "nvidia-smi is missing on this node: there is no /usr/bin/nvidia-smi" in (await gpus.reset(RESET)).message


def test_nvidia_smi_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is killed within the time limit of a container's resets, and the reason says so."""
    driver = SimulatedNode(tmp_path, "single")
    driver.nvidia_smi("hang")
    monkeypatch.setattr(hardware, "SMI_TIMEOUT", 0.2)
    with pytest.raises(Exception, match=r"nvidia-smi did not finish within 0.2 s"):
        hardware.reset_hardware(DriverPaths(Host(tmp_path)), driver.gpus[0].uuid, ResetSettings(), Runtime())


async def test_a_driver_that_hangs(tmp_path: Path) -> None:
    """The worker is killed at its deadline."""
    gpus = GpuResets(tmp_path)
    gpus.driver.hang()
    assert (await gpus.reset(CHECK, deadline=1)).outcome is Outcome.TIMED_OUT


@pytest.mark.parametrize("code", [LOST, NOT_SUPPORTED])
async def test_a_gpu_that_does_not_answer(tmp_path: Path, code: int) -> None:
    """No container starts with such a GPU."""
    gpus = GpuResets(tmp_path)
    gpus.driver.gpus[0].failures["*"] = code
    gpus.driver.apply()
    assert "nvmlDeviceGetHandleByUUID" in (await gpus.reset(CHECK)).message


def test_the_plugins_release_the_driver(tmp_path: Path) -> None:
    """A reset uses the GPUs exclusively: it waits until all plugins end their sessions; none begins in the meantime.

    In an upgrade there are two plugins.
    """
    (tmp_path / "node").mkdir()
    runtime = Runtime(str(tmp_path), "newer", "gpu")
    older, newer = DriverLock(Runtime(str(tmp_path), "older", "gpu")), DriverLock(runtime)
    assert not older.wanted
    assert older.acquire()
    assert newer.acquire()
    older.release()
    with pytest.raises(TimeoutError), exclusive_driver(runtime, 0):
        raise AssertionError("a plugin has not released the driver")
    newer.release()
    with exclusive_driver(runtime, 0), exclusive_driver(runtime, 0):
        assert older.wanted
        assert not newer.acquire()
    assert not older.wanted
    assert newer.acquire()
