"""What `dphub history` shows of the files in a run directory, called in this process."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from hub.base.paths import RunDir
from hub.cli import cli
from hub.model.history import Allocation, AllocationHistory, HealthChange
from hub.model.hub import HubReport, InstanceReport, ProcessReport, RunState
from hub.model.plugin import DeviceStatus, PluginReport, RegistrationStatus, ResourceStatus

GPU, HCA = "nvidia.com/gpu", "rdma/hca"
START = 1_700_000_000

ALLOCATIONS = {
    "gpu": (
        Allocation(GPU, "GPU-old-1", "team-a/first/main", START, START + 90),
        Allocation(GPU, "GPU-12345678", "team-a/first/main", START + 10, START + 3700),
        Allocation(
            GPU,
            "GPU-12345678::0",
            "team-b/second/main",
            START + 4000,
            physical="GPU-12345678",
            health=(HealthChange(START + 4100, "unhealthy", "XID 79"), HealthChange(START + 4200, "healthy")),
        ),
    ),
    "ib": (Allocation(HCA, "mlx5_0", "team-b/second/main", START + 4001),),
}


@pytest.fixture
def run_dir(directory: Path) -> RunDir:
    """Create the run directory of a node whose hub has exited."""
    run_dir = RunDir(directory)
    processes = tuple(ProcessReport(name, RunState.RUNNING, 1) for name in ALLOCATIONS)
    hub = HubReport("1", 1, START, "dphub", "", "", "")
    run_dir.hub_report.write_bytes(msgspec.json.encode(InstanceReport(hub, processes)))
    device = DeviceStatus("GPU-12345678", healthy=True, physical="GPU-12345678", pci=("0000:1b:00.0",))
    free = DeviceStatus("GPU-free", healthy=True)
    resource = ResourceStatus(GPU, "s", RegistrationStatus.REGISTERED, 0, devices=(device, free))
    run_dir.report("gpu").write_bytes(msgspec.json.encode(PluginReport("gpu", 1, resources=(resource,))))
    run_dir.history("gpu").parent.mkdir()
    for name, allocations in ALLOCATIONS.items():
        run_dir.history(name).write_bytes(msgspec.json.encode(AllocationHistory(allocations)))
    return run_dir


def _history(run_dir: RunDir, *words: str) -> Result:
    arguments = ["history", *words, "--run-dir", str(run_dir.path)]
    return CliRunner(env={"TZ": "UTC", "COLUMNS": "150"}).invoke(cli, arguments, standalone_mode=True)


def _devices(run_dir: RunDir, *words: str) -> list[str]:
    lines = _history(run_dir, *words, "--json").stdout.splitlines()
    return [json.loads(line)["device"] for line in lines]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["mlx5_0", "GPU-12345678::0", "GPU-12345678", "GPU-old-1"]),
        (["-n", "1"], ["mlx5_0"]),
        (["--plugin", "gpu"], ["GPU-12345678::0", "GPU-12345678", "GPU-old-1"]),
        (["rdma/hca"], ["mlx5_0"]),
        # A physical device, with its shares; a PCI address; a device that is no longer there; a prefix of an id.
        (["GPU-12345678"], ["GPU-12345678::0", "GPU-12345678"]),
        (["1b:00.0"], ["GPU-12345678::0", "GPU-12345678"]),
        ([f"{GPU} GPU-12345678"], ["GPU-12345678::0", "GPU-12345678"]),
        (["GPU-old-1"], ["GPU-old-1"]),
        (["GPU-1234"], ["GPU-12345678::0", "GPU-12345678"]),
        (["GPU-free"], []),
        (["first"], ["GPU-12345678", "GPU-old-1"]),
        (["team-b/second"], ["mlx5_0", "GPU-12345678::0"]),
        (["team-b/second/main", "--plugin", "ib"], ["mlx5_0"]),
    ],
)
def test_devices_and_pods_can_be_requested(run_dir: RunDir, words: list[str], expected: list[str]) -> None:
    """Devices can be requested by any of their names, even a past one, and pods by theirs; the latest come first."""
    assert _devices(run_dir, *words) == expected


def test_what_is_shown(run_dir: RunDir) -> None:
    """The table says which container had the device, from when to when, what happened meanwhile, and how long ago."""
    result = _history(run_dir, "GPU-12345678")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "the hub is not running" in lines[0]
    assert lines[1].split()[:3] == ["from", "to", "duration"]
    assert lines[3].startswith("2023-11-14 23:20:00 in use ")
    assert lines[3].endswith(f"GPU-12345678::0 {GPU} team-b/second/main")
    assert lines[4] == "2023-11-14 23:21:40 unhealthy: XID 79; 2023-11-14 23:23:20 healthy"
    assert lines[5] == f"2023-11-14 22:13:30 2023-11-14 23:15:00 1 h 1 min GPU-12345678 {GPU} team-a/first/main"
    assert result.exit_code == 1


def test_json_has_every_field(run_dir: RunDir) -> None:
    """The entries are as they are stored, with the plugin."""
    line = json.loads(_history(run_dir, "GPU-12345678", "--json").stdout.splitlines()[0])
    assert (line.pop("plugin"), line.pop("hub_running")) == ("gpu", False)
    assert msgspec.convert(line, Allocation) == ALLOCATIONS["gpu"][2]


def test_nothing_of_that_name(run_dir: RunDir) -> None:
    """A wrong name is an error with a suggestion; a device that was never used is not an error."""
    result = _history(run_dir, "secomd")
    assert "no device or pod of that name; did you mean second?" in str(result.exception)
    assert "No containers have used matching devices." in _history(run_dir, "GPU-free").stdout


def test_a_history_that_cannot_be_read(run_dir: RunDir) -> None:
    """The histories of other plugins are shown, and the exit code says that something is missing."""
    run_dir.history("gpu").write_text("{nonsense")
    result = _history(run_dir)
    assert "mlx5_0" in result.stdout
    assert f"Incomplete: {run_dir.history('gpu')}: " in result.stderr
    assert result.exit_code == 1


@pytest.mark.parametrize("holder", ["", "pod", "namespace/pod"])
def test_a_holder_that_is_not_a_container(run_dir: RunDir, holder: str) -> None:
    """A plugin's file with such a holder counts as unreadable, with the reason; the other histories are shown."""
    allocation = Allocation(GPU, "GPU-1", holder, START)
    run_dir.history("gpu").write_bytes(msgspec.json.encode(AllocationHistory((allocation,))))
    assert "did you mean second?" in str(_history(run_dir, "secomd").exception)
    stderr = _history(run_dir).stderr
    assert "Incomplete: " in stderr
    assert "holder" in stderr
    assert _devices(run_dir) == ["mlx5_0"]
