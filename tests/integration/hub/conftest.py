"""What the tests of the hub process share."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.hub_process import HubProcess
from tests.harness.operated import OperatedNode, operated


@pytest.fixture
def make_hub(directory: Path) -> Iterator[Callable[[str], HubProcess]]:
    """Makes hubs with a given circus.ini, not started yet, and leaves nothing of them behind."""
    hubs: list[HubProcess] = []

    def make(config: str) -> HubProcess:
        hubs.append(HubProcess(directory, config))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.kill()


@pytest.fixture
async def node() -> AsyncIterator[OperatedNode]:
    """A node where all is well."""
    async with operated() as node:
        yield node
