"""Fixtures of the unit tests of the GPU plugin."""

from pathlib import Path

import pytest

from tests.harness.gpu_machine import Machine
from tests.simulators.nvml.library import simulated_library


@pytest.fixture(scope="session", autouse=True)
def compiled_library() -> None:
    """Compile the simulated driver before the first test; the tests themselves start no process."""
    simulated_library()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Machine:
    """Create a node of the profile that the test names, or one with a single GPU."""
    return Machine(tmp_path, monkeypatch, getattr(request, "param", "single"))
