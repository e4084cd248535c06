"""Plugins that do not start."""

from hub.base.exits import Exit
from hub.testing.plugin import PluginProcess
from tests.harness.node import sockets_of_plugins


async def refusal(plugin: PluginProcess) -> str:
    """Return why a plugin did not start, which is the one line in its log. Check that nothing else is left."""
    assert await plugin.exited() == Exit.USAGE, plugin.log
    (line,) = plugin.lines()
    assert (line["event"], line["level"], line["plugin"]) == ("plugin not started", "error", "stub")
    assert sockets_of_plugins(plugin.plugin_dir) == []
    assert plugin.state() is None
    return str(line["reason"])
