"""Kubelets and nodes in the event loop of the test."""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.base.paths import KUBELET_SOCKET
from hub.testing import node as kit
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.scripted import ScriptedPlugin
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.files import remove_tree

BEFORE_AND_SINCE_1_37 = [
    pytest.param(False, id="before-1.37", marks=pytest.mark.kubelets(before="1.37")),
    pytest.param(True, id="from-1.37", marks=pytest.mark.kubelets(since="1.37")),
]
"""Both values of `distinguishes_sockets`, for a test that runs with either kind of kubelet."""


class Node(kit.Node):
    """A node whose plugins follow a script.

    Args:
        directory: The directory for all files.
        kubelet: The node's kubelet.
        stack: The stack that closes the plugins.
    """

    def __init__(self, directory: Path, kubelet: FakeKubelet, stack: AsyncExitStack) -> None:
        super().__init__(directory, kubelet=kubelet)
        self._stack = stack

    async def plugin(
        self,
        resource: str = STUB,
        socket: str = "stub.sock",
        *,
        register: bool = True,
        **options: Any,  # noqa: ANN401 - those of ScriptedPlugin
    ) -> ScriptedPlugin:
        """Start a plugin, and register it unless `register` is false; it stops with the node."""
        plugin = await ScriptedPlugin(self.plugin_dir, resource, socket, **options).serve()
        self._stack.push_async_callback(plugin.close)
        if register:
            await plugin.register()
            await self.kubelet.wait_until(lambda kubelet: bool(kubelet.lists(resource)), what="the first list")
        return plugin


@asynccontextmanager
async def node(**settings: Any) -> AsyncIterator[Node]:  # noqa: ANN401 - the kubelet's settings
    """Run a node, and check that it leaves no asyncio task behind."""
    before = asyncio.all_tasks()
    root = Path(tempfile.mkdtemp(prefix="fk", dir="/tmp"))  # short, as socket paths must be
    try:
        kubelet = FakeKubelet(root / "device-plugins", **settings)
        async with AsyncExitStack() as stack, Node(root, kubelet, stack) as started:
            yield started
    finally:
        remove_tree(root)
    # A gRPC server that is stopped at once, as the plugins' servers are, needs a moment to end its tasks.
    if left := asyncio.all_tasks() - before:
        _, left = await asyncio.wait(left, timeout=WAIT_SECONDS)
    assert not left, f"tasks left behind: {left}"


class KubeletSocket:
    """The only part of a kubelet that the hub process sees: its socket.

    Args:
        plugin_dir: The kubelet's plugin directory.
    """

    def __init__(self, plugin_dir: Path) -> None:
        self.path = plugin_dir / KUBELET_SOCKET
        self._sockets: list[socket.socket] = []

    def start(self) -> None:
        """Delete the old socket and listen, as a kubelet does when it starts."""
        self.path.unlink(missing_ok=True)
        self._sockets.append(socket.socket(socket.AF_UNIX))
        self._sockets[-1].bind(str(self.path))
        self._sockets[-1].listen()

    def close(self) -> None:
        """Close the sockets."""
        for each in self._sockets:
            each.close()


@contextmanager
def mounted(path: Path) -> Iterator[Path]:
    """Yield another path to a directory, which shows the same directory even after its removal, as a mount does."""
    file = os.open(path, os.O_RDONLY)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{file}")
    finally:
        os.close(file)
