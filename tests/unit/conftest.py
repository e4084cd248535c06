"""Fixtures of the unit tests."""

import subprocess
from typing import NoReturn

import asyncinotify  # noqa: F401 - it runs ldconfig when it is imported first
import pytest


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    """Fail a test that starts a process, even through asyncio, unless it uses a real kubelet, which is a process."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a unit test starts a process: move the test to tests/integration")

    if pytestconfig.getoption("--kubelet") == "fake":
        monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
