"""A plugin that uses the default `allocate` and has no preference, as most do."""

from hub import Plugin
from plugins.stub.plugin import Stub


class Plain(Stub):
    """The stub, without its own `allocate` and `prefer`."""

    allocate = Plugin.allocate
    prefer = Plugin.prefer
