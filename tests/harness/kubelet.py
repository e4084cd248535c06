"""A node for plugins that follow a script, in the event loop of the test."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from hub.testing import node as kit
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.scripted import ScriptedPlugin
from hub.testing.waiting import WAIT_SECONDS


class Node(kit.Node):
    """A node whose plugins follow a script.

    Args:
        directory: Holds everything.
        kubelet: Its kubelet.
        stack: Closes the plugins.
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
        """Start a plugin, and register it unless `register` is false; it ends with the node."""
        plugin = await ScriptedPlugin(self.plugin_dir, resource, socket, **options).serve()
        self._stack.push_async_callback(plugin.close)
        if register:
            await plugin.register()
            await self.kubelet.wait_until(lambda kubelet: bool(kubelet.lists(resource)), what="the first list")
        return plugin


@asynccontextmanager
async def node(**settings: Any) -> AsyncIterator[Node]:  # noqa: ANN401 - the kubelet's settings
    """Run a node, and check that it leaves no task behind."""
    before = asyncio.all_tasks()
    root = Path(tempfile.mkdtemp(prefix="fk", dir="/tmp"))  # short, as socket paths must be
    try:
        kubelet = FakeKubelet(root / "device-plugins", **settings)
        async with AsyncExitStack() as stack, Node(root, kubelet, stack) as started:
            yield started
    finally:
        shutil.rmtree(root)
    # A gRPC server that is cut off, as the plugins' are, needs a moment to end its tasks.
    if left := asyncio.all_tasks() - before:
        _, left = await asyncio.wait(left, timeout=WAIT_SECONDS)
    assert not left, f"tasks left behind: {left}"
