"""Fixtures for the tests of upgrades."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.operated import OperatedNode, operated


@pytest.fixture
async def node() -> AsyncIterator[OperatedNode]:
    """Run a node without problems."""
    async with operated() as node:
        yield node
