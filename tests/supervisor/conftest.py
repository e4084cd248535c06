"""What the tests of the hub process share."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_process import HubProcess


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path short enough for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="hub", dir="/tmp"))
    yield path
    shutil.rmtree(path)


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
