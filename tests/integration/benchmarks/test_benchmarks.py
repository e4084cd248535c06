"""The benchmarks themselves."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.results import read_results

ROOT = Path(__file__).parents[3]


LIMIT = 1200.0
"""The time limit in seconds; on an idle machine, the benchmarks take a minute."""


@pytest.mark.longest
@pytest.mark.timeout(1.1 * LIMIT)
def test_the_benchmarks_run_and_say_what_they_measured(tmp_path: Path) -> None:
    """Every row of the budget tables is measured, printed, and in the JSON; a missed budget sets the exit code."""
    result = tmp_path / "result.json"
    command = [sys.executable, "-m", "benchmarks", "--scale=0.001", "--seed=1", f"--json={result}"]
    ran = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=LIMIT)
    assert result.exists(), ran.stderr
    results = read_results(result)
    assert {each.seed for each in results.values()} == {1}
    rows = [row for each in results.values() for row in each.rows]
    assert ran.returncode == (0 if all(row.within for row in rows) else 1)
    assert {row.what for row in rows} >= {
        "from kubelet restart until every resource is allocatable, three plugins",
        "from hub start until every resource is allocatable",
        "from a plugin's SIGKILL until its devices are allocatable again",
        "8 GPUs: from hub start until every device is allocatable",
        "Allocate",
        "admission of 1 of 100, plugin without preference",
        "admission of 2 of 8 GPUs under the hub",
        "16384 devices: from a change until the kubelet has the list",
        "memory of the hub and three plugins, proportional set size",
        "memory of a plugin process alone",
        "CPU time when idle, all processes",
        "8 GPUs: wake-ups when idle, all processes",
        "16384 devices: scrape of /metrics after a change",
        "16384 devices, 64 streams, 1000 changes a second",
        "a day of restarts, faults, pods and resets",
        "from an XID until the kubelet has the list",
        "preferred allocation, any size out of 16 GPUs, NVLink mesh",
        "preferred allocation out of 1,600 replicas",
        "reading 64 VFs from sysfs",
        "GPU fault sequences, each ending with a correct list",
    }
    assert [row.what for row in rows if row.max_ratio and row.floor is None] == []
    for row in rows:
        assert row.what in ran.stdout
