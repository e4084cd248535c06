"""Devices without hardware: for the tutorial, for tests, and to check that a node works.

`plugins.stub:Stub` is the plugin. It is imported on first use: the reset processes import this package too, but do
not need the plugin.
"""

from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute of the module
    if name != "Stub":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from plugins.stub.plugin import Stub  # noqa: PLC0415 - see above

    return Stub


def __dir__() -> list[str]:
    return ["Stub"]
