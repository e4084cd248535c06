"""A pytest plugin that fails a run in which a test leaves a process behind, and names that test.

A process belongs to a test if it is a descendant of the process that runs the tests, or has inherited its environment.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from tests.harness.processes import marked

VARIABLE = "TEST_PROCESS_MARK"
TIMEOUT = "process_leak_timeout"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's one setting."""
    parser.addini(TIMEOUT, "seconds that processes have to exit after the last test", default="30")


@pytest.fixture(scope="session", autouse=True)
def process_leaks(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fail at the end of the session if a process of a test is still running, and kill it."""
    mark = secrets.token_hex(8)
    os.environ[VARIABLE] = mark
    yield
    timeout = float(pytestconfig.getini(TIMEOUT))
    psutil.wait_procs(_processes(mark), timeout)
    left = _processes(mark)
    report = "\n".join(map(_describe, left))
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout)
    assert not left, f"processes left behind:\n{report}"


def _processes(mark: str) -> list[psutil.Process]:
    family = {process.pid for process in psutil.Process().children(recursive=True)}
    found = []
    for pid in family.union(marked(VARIABLE, mark)):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _describe(process: psutil.Process) -> str:
    try:
        test = process.environ().get("PYTEST_CURRENT_TEST", "a test that gave it a different environment")
        return f"process {process.pid} ({' '.join(process.cmdline())}), started by {test}"
    except psutil.Error:
        return f"process {process.pid}"
