"""Fixtures for the tests of the page."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.harness.tools import tool
from tests.integration.page.page_node import PageNode, mixed_node

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator["Browser"]:
    """Start one browser for all tests of a module; each test has its own context."""
    from tests.integration.page.browser import chromium  # noqa: PLC0415 - tests without a page need none

    tool("chromium")
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page_node(tmp_path: Path) -> AsyncIterator[PageNode]:
    """Serve a node that shows every kind of state."""
    node = PageNode(tmp_path)
    node.says(mixed_node())
    async with node.serving():
        yield node
