"""What the tests of plugins share."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support import Node

from hub.kubelet.fake import FakeKubelet


@pytest.fixture
def node() -> Iterator[Node]:
    """A node without a kubelet; whatever is started on it ends with the test."""
    directory = Path(tempfile.mkdtemp(prefix="dp", dir="/tmp"))
    node = Node(directory)
    yield node
    node.end()
    shutil.rmtree(directory)


@pytest.fixture
async def kubelet(node: Node) -> AsyncIterator[FakeKubelet]:
    """The node's kubelet, running."""
    async with node.kubelet() as kubelet:
        yield kubelet
