"""A plugin that uses the default `allocate`, as most do."""

from hub import Plugin
from plugins.stub.plugin import Stub


class Plain(Stub):
    """The stub, without its own `allocate`."""

    allocate = Plugin.allocate
