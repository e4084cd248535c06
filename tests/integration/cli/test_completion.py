"""What a shell completes, requested the way bash does it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hub.base.jsonfile import replace_file
from hub.base.paths import RunDir
from hub.model.hub import HubReport, InstanceReport, ProcessReport, RunState
from hub.model.plugin import DeviceStatus, PluginReport, RegistrationStatus, ResourceStatus

DPHUB = Path(sys.executable).with_name("dphub")
GPU, POOL = "nvidia.com/gpu", "rdma/pool"

_ASK = """
PATH={bin}:$PATH
eval "$(dphub completion bash)"
compopt() {{ echo "compopt $*"; }}
COMP_LINE=$1 COMP_POINT=${{#1}}
_dphub_completion dphub
[ ${{#COMPREPLY[@]}} = 0 ] || printf '%s\\n' "${{COMPREPLY[@]}}"
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    """Create the files of a hub that is no longer running."""
    run_dir = RunDir(tmp_path)
    pids = {"gpu": 11, "ib": 12, "odd": 0}
    processes = tuple(
        ProcessReport(name, RunState.RUNNING if pid else RunState.STOPPED, pid) for name, pid in pids.items()
    )
    run_dir.lock.touch()
    replace_file(run_dir.hub_report, InstanceReport(HubReport("1", 1, 1.0, "dphub", "/c.ini", "/p", "/"), processes))
    cordoned = {"healthy": False, "health": "unhealthy", "reason": "cordoned: hot", "source": "cordon"}
    gpus = (
        DeviceStatus("GPU-7f00", healthy=True, pci=("0000:1b:00.0",), attributes={"index": "0"}),
        DeviceStatus("GPU-8f11", pci=("0000:3d:00.0",), **cordoned),
    )
    pools = tuple(DeviceStatus(str(number), healthy=True) for number in range(2))
    others = tuple(DeviceStatus(str(number), healthy=True) for number in range(1))
    resources = {
        "gpu": (_resource(GPU, *gpus),),
        "ib": (_resource(POOL, *pools), _resource("rdma/other", *others)),
    }
    for name, found in resources.items():
        cordons = {f"{GPU} GPU-8f11": "cordoned: hot", "OLD-1": "cordoned"} if name == "gpu" else {}
        replace_file(run_dir.report(name), PluginReport(name, pids[name], 1.0, resources=found, cordons=cordons))
    return run_dir


def _resource(name: str, *devices: DeviceStatus) -> ResourceStatus:
    healthy = sum(device.healthy for device in devices)
    counts = {"capacity": len(devices), "allocatable": healthy}
    return ResourceStatus(name, f"{name}.sock", RegistrationStatus.REGISTERED, 1.0, devices=devices, **counts)


def _asked(run_dir: Path, line: str) -> list[str]:
    """Return the completions that bash gets for the end of a line."""
    done = subprocess.run(
        ["bash", "-c", _ASK.format(bin=DPHUB.parent), "bash", line],
        env={**os.environ, "DPHUB_RUN_DIR": str(run_dir)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dphub st", ["status", "stop", "start"]),
        ("dphub status --js", ["--json"]),
        ("dphub restart ", ["gpu", "ib", "odd"]),
        ("dphub logs g", ["gpu"]),
        ("dphub log-level gpu w", ["warning"]),
        ("dphub cordon GPU-7", ["GPU-7f00"]),
        ("dphub cordon ", ["GPU-7f00", "GPU-8f11", r"rdma/pool\ 0", "1", r"rdma/other\ 0"]),
        ("dphub cordon --plugin=g", ["gpu"]),
        ("dphub status --instance ", ["dphub"]),
        ("dphub devices rdma", ["rdma/pool", "rdma/other", r"rdma/pool\ 0", r"rdma/other\ 0"]),
        ("dphub devices GPU", ["GPU-7f00", "GPU-8f11"]),
        ("dphub help ex", ["exit-codes"]),
        ("dphub completion ", ["bash", "zsh", "fish"]),
        ("dphub run --config ", ["compopt -o default"]),
        ("dphub fake-kubelet --plugin-dir ", ["compopt -o dirnames"]),
    ],
)
def test_names(run_dir: RunDir, line: str, expected: list[str]) -> None:
    """Commands, options, plugins, levels, devices, hubs, resources, topics, shells and files are completed."""
    assert _asked(run_dir.path, line) == expected


def test_a_word_with_a_colon(run_dir: RunDir) -> None:
    """Bash replaces what follows the last colon only, unless the word is quoted."""
    assert _asked(run_dir.path, "dphub cordon 0000:1b:") == ["00.0"]
    assert _asked(run_dir.path, "dphub cordon 0000:") == ["1b:00.0", "3d:00.0"]
    assert _asked(run_dir.path, "dphub cordon '0000:1b:") == ["0000:1b:00.0"]


def test_a_word_with_a_space(run_dir: RunDir) -> None:
    """Members of pools are completed with their resource if their number alone would name more than one device."""
    assert _asked(run_dir.path, "dphub cordon rdma/o") == [r"rdma/other\ 0"]
    assert _asked(run_dir.path, "dphub cordon 'rdma/pool ") == ["rdma/pool 0", "rdma/pool 1"]
    assert _asked(run_dir.path, r"dphub cordon rdma/pool\ 1") == [r"rdma/pool\ 1"]


def test_uncordon_offers_what_it_can_release(run_dir: RunDir) -> None:
    """`dphub uncordon` is completed with cordoned devices, and with no healthy one."""
    assert _asked(run_dir.path, "dphub uncordon GPU") == ["GPU-8f11"]
    assert _asked(run_dir.path, "dphub uncordon 0000:3") == ["3d:00.0"]
    assert _asked(run_dir.path, "dphub uncordon ") == ["GPU-8f11", "OLD-1"]


@pytest.mark.parametrize("content", ["", "no json"])
def test_unknown_names_are_not_completed(tmp_path: Path, content: str) -> None:
    """Without a hub, or with a file that cannot be read, a shell completes nothing and shows no error."""
    if content:
        RunDir(tmp_path).hub_report.write_text(content)
    assert _asked(tmp_path, "dphub restart ") == []
    assert _asked(tmp_path / "none", "dphub cordon ") == []


def test_a_name_that_is_not_run_yet(tmp_path: Path) -> None:
    """To complete what follows ./dphub, a shell calls the installed dphub, and never runs a file in that directory."""
    program = tmp_path / "dphub"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    script = _ASK.replace("_completion dphub", "_completion ./dphub").format(bin=DPHUB.parent)
    command = ["bash", "-c", script, "bash", "./dphub st"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert ((tmp_path / "ran").exists(), done.stdout.split()) == (False, ["status", "stop", "start"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script(shell: str) -> None:
    """The script calls dphub, and bash can parse it."""
    script = subprocess.run([DPHUB, "completion", shell], capture_output=True, text=True, check=True).stdout
    assert f"_DPHUB_COMPLETE={shell}_complete" in script
    if reader := shutil.which(shell):
        subprocess.run([reader, "-n"], input=script, text=True, check=True)


def test_nothing_slow_is_loaded(run_dir: RunDir) -> None:
    """No completion loads gRPC, circus or the terminal library's tables."""
    ask = "import os, sys; os.environ['COMP_LINE'] = sys.argv[1]; import hub.cli.commands.completion as c; "
    ask += "c.Bash(c.cli, {}, 'dphub', '_').complete(); "
    ask += "sys.exit(str({'grpc', 'circus', 'zmq', 'tornado'} & set(sys.modules) or ''))"
    for line in (
        "dphub ",
        "dphub restart ",
        "dphub stop ",
        "dphub fake-kubelet --",
        "dphub verify --",
        "dphub demo --",
        "dphub reload --",
    ):
        done = subprocess.run(
            [sys.executable, "-c", ask, line],
            env={**os.environ, "DPHUB_RUN_DIR": str(run_dir.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.strip() == "", (line, done)
