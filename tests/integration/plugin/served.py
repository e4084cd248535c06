"""A plugin that a kubelet can call."""

from hub.testing.plugin import PluginProcess
from tests.harness.node import Node


async def serving(node: Node, code: str) -> PluginProcess:
    """Start a plugin with this code, and wait until it is registered."""
    plugin = node.start_plugin(node.write_plugin(code))
    await plugin.registered()
    return plugin


LIMITED = """
class P(Plugin):
    resource = "example.com/stub"
    allocate_timeout = 0.2
    prefer_timeout = 0.2
    def devices(self):
        return [Device("good"), Device("hangs"), *(Device(f"d{n}") for n in range(100))]
    def allocate(self, devices):
        if devices[0].id == "hangs":
            Path("hangs").touch()
            threading.Event().wait()
        return super().allocate(devices)
"""
