"""Why there is no device: in the list of devices, and in the status."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from hub.base.paths import RunDir
from hub.cli.render.devices import device_screen
from hub.model.hub import HubReport, InstanceReport, ProcessReport, RunState
from hub.model.node import NodeStatus, Severity
from hub.model.plugin import DeviceStatus, PluginReport, RegistrationStatus, ResourceStatus, UnmatchedSetting
from hub.status.lookup import unknown
from hub.status.problems import REASONS
from hub.status.reader import Reader

PID = os.getpid()
UNMATCHED = UnmatchedSetting("no file matches /dev/x*", "example.com/x")


def _resource(name: str, **fields: object) -> ResourceStatus:
    status = ResourceStatus(name, "x.sock", RegistrationStatus.REGISTERED, 1)
    return msgspec.structs.replace(status, **fields)


def _status(path: Path, unmatched: Sequence[UnmatchedSetting]) -> NodeStatus:
    """Return the status of a node with a resource that has a device, and one that has none."""
    run_dir = RunDir(path)
    hub = HubReport("1", PID, 1, "dphub", "circus.ini", "/plugins", "/")
    process = ProcessReport("generic", RunState.RUNNING, PID, 1)
    run_dir.hub_report.write_bytes(msgspec.json.encode(InstanceReport(hub, (process,))))
    some = _resource("example.com/y", devices=(DeviceStatus("y0", healthy=True),), capacity=1, allocatable=1)
    none = _resource(UNMATCHED.resource, reason=UNMATCHED.reason)
    report = PluginReport("generic", PID, 1, scanned=True, resources=(some, none), unmatched=tuple(unmatched))
    run_dir.report("generic").write_bytes(msgspec.json.encode(report))
    return Reader(run_dir).status(running=True)


def _shown(status: NodeStatus, wanted: str | None) -> str:
    screen = Console(file=io.StringIO(), width=200)
    screen.print(device_screen(status, wanted))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize("wanted", [None, "generic", UNMATCHED.resource])
def test_a_resource_without_devices_has_its_reason_below_the_devices(tmp_path: Path, wanted: str | None) -> None:
    """This holds even if only its plugin's devices, or its own, were requested."""
    shown = _shown(_status(tmp_path, [UNMATCHED]), wanted)
    assert f"{UNMATCHED.resource} {UNMATCHED.reason}" in " ".join(shown.split())


def test_another_resource_is_shown_without_it(tmp_path: Path) -> None:
    """A list of what was requested contains nothing else."""
    shown = _shown(_status(tmp_path, [UNMATCHED]), "example.com/y")
    assert "y0" in shown
    assert UNMATCHED.reason not in shown


def test_the_status_lists_the_first_settings_that_match_nothing(tmp_path: Path) -> None:
    """They are not a problem, because many nodes share one file."""
    status = _status(tmp_path, [UnmatchedSetting(f"no {number}") for number in range(REASONS + 2)])
    problems = [problem for problem in status.problems if problem.about == "generic"]
    assert [problem.message for problem in problems] == [
        *(f"no {number}" for number in range(REASONS)),
        "2 more settings without a match",
    ]
    assert {problem.severity for problem in problems} == {Severity.INFO}


def test_a_plugin_that_does_not_start_with_the_hub_is_not_listed(tmp_path: Path) -> None:
    """With `autostart = false` it is neither in the notes nor incomplete; a stopped plugin is."""
    run_dir = RunDir(tmp_path)
    hub = HubReport("1", PID, 1, "dphub", "circus.ini", "/plugins", "/")
    processes = ProcessReport("off", RunState.STOPPED), ProcessReport("a", RunState.STOPPED, starts=1)
    run_dir.hub_report.write_bytes(msgspec.json.encode(InstanceReport(hub, processes)))
    status = Reader(run_dir).status(running=True)
    assert [problem.about for problem in status.problems if problem.about != "kubelet"] == ["a"]
    assert unknown(status.plugins) == "; the devices of a are unknown (stopped; start it with dphub start a)"
