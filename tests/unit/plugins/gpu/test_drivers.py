"""Drivers and cards that do not support every call: each GPU is served anyway, without what is missing."""

from pathlib import Path

import msgspec
import psutil
import pytest

from plugins.gpu.allocation import ContainerEdits
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.discovery.facts import Gpu
from plugins.gpu.mps.daemon import clients_problem
from plugins.gpu.resources import Share, attributes
from plugins.gpu.settings.file import GPUSettings
from tests.harness.gpu_machine import Machine
from tests.simulators.nvml import UNKNOWN
from tests.simulators.nvml.profiles import GB, NO_FUNCTION, NOT_SUPPORTED

PROFILES = ["old2", "unified", "noevents2", "vgpu", "wsl2"]


@pytest.mark.parametrize("machine", PROFILES, indirect=True)
def test_every_gpu_is_served(machine: Machine) -> None:
    """It is served without a fault, as in NVIDIA's plugin; what is known is correct."""
    state = machine.poll()
    assert [gpu.uuid for gpu in state.gpus] == [gpu.uuid for gpu in machine.driver.gpus]
    assert [gpu.name for gpu in state.gpus] == [gpu.name for gpu in machine.driver.gpus]
    assert (state.unknown, state.reason, state.driver) == ((), "", machine.driver.driver)
    assert [gpu.fault for gpu in state.gpus] == ["" for _ in state.gpus]


@pytest.mark.parametrize(
    ("machine", "memory"),
    [("old2", 32 * GB), ("unified", None), ("noevents2", 12 * GB), ("vgpu", 8 * GB), ("wsl2", 24 * GB)],
    indirect=["machine"],
)
def test_memory(machine: Machine, memory: int | None) -> None:
    """It comes from either version of the call, and is unknown if the GPU has no memory of its own."""
    assert {gpu.memory for gpu in machine.poll().gpus} == {memory}


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("nvmlDeviceGetMinorNumber", "minor"),
        ("nvmlDeviceGetCudaComputeCapability", "compute_capability"),
        ("nvmlDeviceGetPciInfo_v3", "pci"),
    ],
)
@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_FUNCTION])
def test_what_is_not_essential_excludes_no_gpu(machine: Machine, function: str, field: str, code: int) -> None:
    """It is unknown, and everything else is unchanged."""
    before = machine.poll().gpus[0]
    gpu = machine.lacking(function, code)
    assert not getattr(gpu, field)
    same = msgspec.structs.replace(gpu, **{field: getattr(before, field)}, numa=before.numa)
    assert same == before


def test_the_kernel_module_knows_address_and_minor_number(machine: Machine) -> None:
    """They come from its list if NVML does not have them."""
    before = machine.poll().gpus[0]
    listed = machine.driver.root / "proc/driver/nvidia/gpus/0000:10:00.0/information"
    listed.parent.mkdir(parents=True)
    listed.write_text(
        f"Model: \t\t NVIDIA H100\nGPU UUID: \t {before.uuid}\nBus Location: \t {before.pci}\nDevice Minor: \t 0\n"
    )
    machine.driver.gpus[0].lacks["nvmlDeviceGetMinorNumber"] = NOT_SUPPORTED
    assert machine.lacking("nvmlDeviceGetPciInfo_v3") == before


def test_a_gpu_without_an_address_that_is_removed(machine: Machine) -> None:
    """It counts as removed, because nothing can show that it is still on the bus."""
    gpu = machine.lacking("nvmlDeviceGetPciInfo_v3")
    machine.driver.unplug(0)
    assert machine.poll({gpu.uuid: gpu}).unknown == ()


def test_mig_devices_without_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their profiles contain what the driver does not report; how many engines they have is unknown."""
    machine = Machine(tmp_path, monkeypatch, "a100x2", {0: "compute", 1: "mixed"})
    before = [[msgspec.structs.replace(mig, engines=None) for mig in gpu.migs] for gpu in machine.poll().gpus]
    for gpu in machine.driver.gpus:
        gpu.lacks["nvmlDeviceGetAttributes_v2"] = NO_FUNCTION
    machine.driver.apply()
    assert [list(gpu.migs) for gpu in machine.poll().gpus] == before


@pytest.mark.parametrize(
    ("machine", "reported"),
    [("pair", True), ("old2", True), ("unified", True), ("noevents2", False), ("vgpu", False), ("wsl2", False)],
    indirect=["machine"],
)
def test_cards_that_report_no_errors(machine: Machine, *, reported: bool) -> None:
    """They are healthy; an administrator sees that only probes find their errors."""
    for gpu in machine.poll().gpus:
        assert (gpu.reports_xids, gpu.fault) == (reported, "")
        assert ("XIDs" in attributes(Share("nvidia.com/gpu", gpu))) is not reported


def test_one_card_of_two_that_reports_no_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is recognized by its supported event types; the plugin listens for the errors of the other one."""
    machine = Machine(tmp_path, monkeypatch, "pair")
    machine.driver.set(0, no_xids=1)
    assert [(gpu.reports_xids, gpu.fault) for gpu in machine.poll().gpus] == [(False, ""), (True, "")]


@pytest.mark.parametrize(
    "function", ["nvmlEventSetCreate", "nvmlDeviceGetSupportedEventTypes", "nvmlDeviceRegisterEvents"]
)
@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_FUNCTION])
def test_a_driver_without_events(machine: Machine, function: str, code: int) -> None:
    """No call for events excludes a GPU or makes it unhealthy."""
    machine.driver.fail(function, code)
    assert [gpu.fault for gpu in machine.poll().gpus] == [""]


def test_a_driver_with_events_of_an_old_form(machine: Machine) -> None:
    """Before driver 450, this is noticed at the first wait; the GPU is healthy, and only probes find its errors."""
    machine.driver.fail("nvmlEventSetWait_v2", NO_FUNCTION)
    with machine.session() as session:
        session.poll({}, lambda: None)
        assert list(session.wait(0)) == []
        (gpu,) = session.poll({}, lambda: None).gpus
        assert (gpu.reports_xids, gpu.fault, session.listens) == (False, "", False)


def test_an_event_set_in_an_undefined_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is replaced, and the errors of all other GPUs are received."""
    machine = Machine(tmp_path, monkeypatch, "pcie8")
    machine.driver.gpus[5].failures["nvmlDeviceRegisterEvents"] = UNKNOWN
    machine.driver.apply()
    with machine.session() as session:
        gpus = session.poll({}, lambda: None).gpus
        unmonitored = [gpu.index for gpu in gpus if "cannot be monitored: nvmlDeviceRegisterEvents" in gpu.fault]
        assert unmonitored == [5]
        for number in range(8):
            machine.driver.xid(number, 79)
        heard = [xid.gpu for _ in range(8) for xid in session.wait(0)]
        assert heard == [gpu.uuid for gpu in gpus if gpu.index != 5]


@pytest.mark.parametrize("machine", ["unified"], indirect=True)
def test_mps_without_a_known_memory_size_is_refused(machine: Machine) -> None:
    """MPS cannot divide memory of unknown size; an administrator sees that it is unknown."""
    (gpu,) = machine.poll().gpus
    assert clients_problem(gpu, 2) == (
        "MPS cannot limit the memory of clients: the driver reports none for NVIDIA GB10"
    )
    assert attributes(Share("nvidia.com/gpu", gpu))["memory"] == "unknown"


@pytest.mark.parametrize("machine", ["wsl2"], indirect=True)
def test_gpus_of_wsl(machine: Machine) -> None:
    """A container gets the device file that all of them share."""
    (gpu, _) = machine.poll().gpus
    assert _nodes(machine, gpu) == (["/dev/dxg"], "")


def test_a_gpu_without_a_known_device_file(machine: Machine) -> None:
    """A container can get it by a variable, but not by its files."""
    gpu = machine.lacking("nvmlDeviceGetMinorNumber")
    files, problem = _nodes(machine, gpu)
    assert "/dev/nvidia0" not in files
    assert problem.startswith("the driver does not report its minor number")
    assert _edits(machine, gpu, {}).problem(Share("nvidia.com/gpu", gpu)) == ""


def _nodes(machine: Machine, gpu: Gpu) -> tuple[list[str], str]:
    """Return the device files of a container with this GPU, and why it cannot have them."""
    edits = _edits(machine, gpu, {"passDeviceSpecs": True})
    share = Share("nvidia.com/gpu", gpu)
    return [str(node.host_path) for node in edits.allocation([share]).nodes], edits.problem(share)


def _edits(machine: Machine, gpu: Gpu, flags: dict[str, object]) -> ContainerEdits:
    settings = msgspec.convert({"flags": {"plugin": flags}}, GPUSettings)
    files = DeviceFiles(machine.paths, settings.imex)
    files.refresh([gpu])
    return ContainerEdits(settings, machine.paths, files)


@pytest.mark.parametrize("machine", ["pair"], indirect=True)
def test_sessions_that_end_leave_no_open_files(machine: Machine) -> None:
    """A driver that is reloaded again and again does not use up the process's files."""
    machine.poll()
    before = psutil.Process().num_fds()
    for _ in range(3):
        machine.poll()
    assert psutil.Process().num_fds() <= before
