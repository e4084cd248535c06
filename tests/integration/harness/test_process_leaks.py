"""A run whose tests leave processes behind fails."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.harness.project import PROJECT

LEAK = """
import subprocess
def test_that_leaks():
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True, {more})
    open("pid", "w").write(str(process.pid))
    process.returncode = 0
"""
TIDY = """
import subprocess
def test_that_leaks():
    process = subprocess.Popen(["sleep", "1000"])
    process.kill()
    process.wait()
"""


def _run(directory: Path, code: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_it.py").write_text(code)
    flags = ["-p", "tests.harness.process_leaks", "-o", "process_leak_timeout=1", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *flags, "test_it.py"],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("more", "blamed"),
    [("", "test_it.py::test_that_leaks (call)"), ("env={}", "a test that gave it a different environment")],
    ids=["inherited environment", "empty environment"],
)
def test_a_process_that_is_left_fails_the_run(tmp_path: Path, more: str, blamed: str) -> None:
    """The error names the process and the test, and the process is killed."""
    done = _run(tmp_path, LEAK.format(more=more))
    pid = int((tmp_path / "pid").read_text())
    assert done.returncode == 1, done
    assert f"process {pid} (sleep 1000), started by {blamed}" in done.stdout
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_process_that_has_exited_does_not(tmp_path: Path) -> None:
    """A test whose processes have all exited passes."""
    done = _run(tmp_path, TIDY)
    assert done.returncode == 0, done
