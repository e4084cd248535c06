"""What the tests of commands share."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.operated import OperatedNode, operated


@pytest.fixture
async def node() -> AsyncIterator[OperatedNode]:
    """A node where all is well."""
    async with operated() as node:
        yield node
