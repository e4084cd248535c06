"""Fixtures for the tests of the hub process."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.hub_process import HubProcess
from tests.harness.operated import OperatedNode, operated


@pytest.fixture
def make_hub(directory: Path) -> Iterator[Callable[[str], HubProcess]]:
    """Create hubs with a given circus.ini, which have not been started yet, and kill them at the end."""
    hubs: list[HubProcess] = []

    def make(config: str) -> HubProcess:
        hubs.append(HubProcess(directory, config))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.kill()


@pytest.fixture
async def node() -> AsyncIterator[OperatedNode]:
    """Run a node without problems."""
    async with operated() as node:
        yield node
