"""What the tests of resets share."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.integration.reset.reset_support import Workshop, open_descriptors


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    """Where resets run; nothing of them may be left at the end of a test, on this side or the other."""
    before = open_descriptors()
    with capture_logs() as log:
        workshop = Workshop(log)
        yield workshop
    left = workshop.processes()
    workshop.kill()
    assert not left
    # Others' may be closed meanwhile: gRPC ends its own when it likes.
    assert not open_descriptors().items() - before.items()
