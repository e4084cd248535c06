"""What the tests of operating a node share."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from operated import OperatedNode, operated
from page_node import PageNode, mixed_node
from tools import tool

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest.fixture
async def node() -> AsyncIterator[OperatedNode]:
    """A node where all is well."""
    async with operated() as node:
        yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator["Browser"]:
    """One for all tests of a module; each has a context of its own."""
    from browser import chromium  # noqa: PLC0415 - tests without a page need none

    tool("chromium")
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page_node(tmp_path: Path) -> AsyncIterator[PageNode]:
    """A node with something of everything to show."""
    node = PageNode(tmp_path)
    node.says(mixed_node())
    async with node.serving():
        yield node
