"""Fixtures of the unit tests of the GPU plugin."""

import pytest

from tests.simulators.nvml.library import simulated_library


@pytest.fixture(scope="session", autouse=True)
def compiled_library() -> None:
    """Compile the simulated driver before the first test; the tests themselves start no process."""
    simulated_library()
