"""A node with an agent and an API server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.agent.agentnode import AgentNode
from tests.simulators.apiserver import FakeApiServer


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[FakeApiServer]:
    """Run an API server."""
    directory = tmp_path / "api"
    directory.mkdir()
    async with FakeApiServer(directory) as server:
        yield server


@pytest.fixture
async def node(tmp_path: Path, api: FakeApiServer) -> AsyncIterator[AgentNode]:
    """Create a node whose hub has not been started yet."""
    async with AgentNode(tmp_path, api) as node:
        yield node
