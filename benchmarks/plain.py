"""A plugin that leaves to the hub what a container gets, as most do."""

from hub import Plugin
from plugins.stub.plugin import Stub


class Plain(Stub):
    """The stub, without an `allocate` of its own."""

    allocate = Plugin.allocate
