"""Fixtures for the tests of resets."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.integration.reset.reset_support import ResetRuns, open_descriptors


@pytest.fixture
def runs() -> Iterator[ResetRuns]:
    """Run resets, and check that a test leaves no process and no open file behind."""
    before = open_descriptors()
    with capture_logs() as log:
        runs = ResetRuns(log)
        yield runs
    left = runs.processes()
    runs.kill()
    assert not left
    # Other code may close its files in the meantime: gRPC, for example, does so at any time.
    assert not open_descriptors().items() - before.items()
