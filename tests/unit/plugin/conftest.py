"""Fixtures of the tests of a plugin process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.base import instances
from tests.unit.plugin.upgrade_setup import Upgrade


@pytest.fixture
def upgrade(tmp_path: Path) -> Iterator[Upgrade]:
    """Create three running hubs, whose plugins do not serve yet."""
    it = Upgrade(tmp_path)
    with it.running:
        for hub in it.hubs:
            it.running.enter_context(instances.acquire_hub_lock(hub))
        yield it


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Upgrade]:
    """Create three running hubs, the first of which is the node's service."""
    it = Upgrade(tmp_path)
    with it.running:
        it.running.enter_context(instances.acquire_hub_lock(it.first, is_service=True))
        it.running.enter_context(instances.acquire_hub_lock(it.ours))
        it.running.enter_context(instances.acquire_hub_lock(it.third))
        yield it
