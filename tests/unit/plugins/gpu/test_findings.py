"""Problems with GPUs that work: they are warnings, or make a GPU unhealthy if the settings say so and they last."""

from pathlib import Path

import msgspec
import pytest

from plugins.gpu.discovery.facts import DriverState, Finding, FindingKind
from plugins.gpu.health import Findings
from plugins.gpu.settings.file import FindingTable
from tests.harness.gpu_machine import Machine
from tests.simulators.nvml import UNKNOWN
from tests.simulators.nvml.profiles import NO_FUNCTION

ALL_LINKS = (1 << 18) - 1
REGISTRATION = "the registration with the NVLink fabric"
NOT_STARTED = f"{REGISTRATION} has not started: is NVIDIA's fabric manager running?"


def _found(machine: Machine, gpu: int = 0) -> dict[str, str]:
    """Return the findings about a GPU at a poll, none of which is a fault; the other GPUs have none."""
    gpus = machine.poll().gpus
    assert [other.index for other in gpus if other.fault or (other.findings and other.index != gpu)] == []
    return {str(finding.kind): finding.text for finding in gpus[gpu].findings}


@pytest.mark.parametrize(
    "machine", ["none", "single", "pair", "mesh8", "switch8", "pcie8", "a100x2", "old2", "unified", "vgpu", "wsl2"],
    indirect=True,
)  # fmt: skip
def test_no_false_alarm(machine: Machine) -> None:
    """A GPU with which nothing is wrong has no finding, nor does an idle one."""
    for number, gpu in enumerate(machine.driver.gpus):
        # Some links of some GPUs sleep.
        gpu.values |= {"pcie_width": 16, "pcie_max": 16, "temperature": 30, "slowdown": 90, "links_asleep": number % 4}
    machine.driver.apply()
    assert [gpu for gpu in machine.poll().gpus if gpu.findings or gpu.fault] == []


@pytest.mark.parametrize("machine", ["switch8"], indirect=True)
@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"fabric": 0}, {}),
        ({"fabric": 1}, {"fabric": NOT_STARTED}),
        ({"fabric": 2}, {"fabric": f"{REGISTRATION} is in progress"}),
        ({"fabric": 2, "fabric_status": 999}, {"fabric": f"{REGISTRATION} is in progress"}),
        ({"fabric": 3}, {}),
        (
            {"fabric": 3, "fabric_status": 3},
            {"fabric": f"{REGISTRATION} failed: Not Supported"},
        ),
        ({"fabric": 3, "fabric_mask": 0b10_10_10_10, "fabric_summary": 1}, {}),
        ({"fabric": 3, "fabric_mask": 1 << 8}, {}),
        ({"fabric": 3, "fabric_mask": 1}, {"fabric_health": "its NVLink fabric: its bandwidth is reduced"}),
        (
            {"fabric": 3, "fabric_mask": 1 << 4 | 5 << 8},
            {"fabric_health": "its NVLink fabric: a route is faulty, it has too few NVLinks"},
        ),
        (
            {"fabric": 3, "fabric_summary": 2},
            {"fabric_health": "its NVLink fabric: the driver reports it as unhealthy"},
        ),
        ({"fabric": 3, "fabric_summary": 3}, {"fabric_health": "its NVLink fabric: its capacity is limited"}),
    ],
)
def test_fabric(machine: Machine, values: dict[str, int], found: dict[str, str]) -> None:
    """The finding describes the registration and health of a GPU on NVSwitches."""
    machine.driver.set(2, **values)
    assert _found(machine, 2) == found


@pytest.mark.parametrize("machine", ["switch8"], indirect=True)
@pytest.mark.parametrize("code", [NO_FUNCTION, 2, 25])
def test_fabric_of_older_drivers(machine: Machine, code: int) -> None:
    """Without the newer call the older one returns the state."""
    machine.driver.set(0, fabric=1)
    machine.driver.gpus[0].lacks["nvmlDeviceGetGpuFabricInfoV"] = code
    machine.driver.apply()
    assert _found(machine) == {"fabric": NOT_STARTED}


def test_fabric_with_mig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MIG devices do not use it."""
    machine = Machine(tmp_path, monkeypatch, "a100x2", {0: "1g"})
    machine.driver.set(0, fabric=1)
    assert _found(machine) == {}


@pytest.mark.parametrize("machine", ["switch8"], indirect=True)
def test_inactive_links(machine: Machine) -> None:
    """The finding lists the links that all other GPUs have active, unless they sleep."""
    machine.driver.set(3, links_down=0b110, links_asleep=0b1)
    assert _found(machine, 3) == {"nvlink": "its NVLinks 1, 2 are inactive, but active on all other GPUs of this model"}
    machine.driver.set(3, links_down=0b1, links_asleep=0)
    assert _found(machine, 3) == {"nvlink": "its NVLink 0 is inactive, but active on all other GPUs of this model"}
    machine.driver.set(3, links_down=ALL_LINKS)
    assert "nvlink" in _found(machine, 3)
    for gpu in range(8):
        machine.driver.set(gpu, links_down=0b1)
    assert _found(machine, 3) == {}


def test_gpus_without_a_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bridges connect some GPUs of a node; the others need no links."""
    machine = Machine(tmp_path, monkeypatch, "mesh8")
    machine.driver.set(5, links_down=ALL_LINKS)
    assert _found(machine, 5) == {}


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"pcie_width": 8, "pcie_max": 16}, {"pcie": "its PCIe link has only 8 of 16 lanes"}),
        ({"pcie_width": 0, "pcie_max": 16}, {}),
        ({"remap_pending": 1}, {"remap": "faulty memory rows will be replaced by spare ones at its next reset"}),
        ({"temperature": 89, "slowdown": 89}, {"temperature": "it is hotter than the 89 °C at which it slows down"}),
        ({"temperature": 88, "slowdown": 89}, {}),
        ({"temperature": 88, "slowdown": 0}, {}),
    ],
)
def test_links_memory_and_temperature(machine: Machine, values: dict[str, int], found: dict[str, str]) -> None:
    """Each is a finding, but not a fault."""
    machine.driver.set(0, **values)
    assert _found(machine) == found


@pytest.mark.parametrize("machine", ["pcie8"], indirect=True)
def test_pages_that_wait_for_a_reset(machine: Machine) -> None:
    """GPUs before the Ampere generation retire pages instead of remapping rows."""
    machine.driver.set(4, retired_pending=1)
    assert _found(machine, 4) == {"remap": "faulty memory pages will be retired at its next reset"}


@pytest.mark.parametrize(
    "function", ["nvmlDeviceGetGpuFabricInfoV", "nvmlDeviceGetCurrPcieLinkWidth", "nvmlDeviceGetTemperatureThreshold"]
)
def test_a_check_that_fails(machine: Machine, function: str) -> None:
    """It finds nothing, the others still do, and the GPU stays healthy."""
    machine.driver.set(0, remap_pending=1)
    machine.driver.gpus[0].failures[function] = UNKNOWN
    machine.driver.apply()
    assert _found(machine).keys() == {"remap"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, which only the test changes."""
    now = [1000.0]
    monkeypatch.setattr("plugins.gpu.health.time.monotonic", lambda: now[0])
    return now


def test_a_finding_that_lasts(machine: Machine, clock: list[float]) -> None:
    """It is a warning first, then the GPU is unhealthy; the time starts again if it was gone."""
    findings = Findings(FindingTable(unhealthy_after=60))
    gpu = machine.poll().gpus[0]
    ill = msgspec.structs.replace(gpu, findings=(Finding(FindingKind.FABRIC, "in progress"),))
    for seconds, state, fault, warning in (
        (0, ill, "", "in progress"), (59, ill, "", "in progress"), (1, ill, "in progress", ""), (1, gpu, "", ""),
        (1, ill, "", "in progress"), (60, ill, "in progress", ""),
    ):  # fmt: skip
        clock[0] += seconds
        findings.update(DriverState((state,)))
        assert (findings.fault(state), findings.warning(state)) == (fault, warning)


@pytest.mark.parametrize("kind", list(FindingKind))
def test_the_settings_decide(machine: Machine, kind: FindingKind) -> None:
    """Each kind of finding can be ignored, a warning, or make the GPU unhealthy."""
    gpu = msgspec.structs.replace(machine.poll().gpus[0], findings=(Finding(kind, "words"),))
    for effect, expected in (("ignore", ("", "")), ("warn", ("", "words")), ("unhealthy", ("words", ""))):
        table = msgspec.convert({"unhealthy_after": 0, kind.value: effect}, FindingTable)
        findings = Findings(table)
        findings.update(DriverState((gpu,)))
        assert (findings.fault(gpu), findings.warning(gpu)) == expected
