"""AMD GPUs, whole or partitioned.

`plugins.amd:AMD` is the plugin. It is imported on first use: the reset processes import this package too, but do
not need the plugin.
"""

from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute of the module
    if name != "AMD":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from plugins.amd.plugin import AMD  # noqa: PLC0415 - see above

    return AMD


def __dir__() -> list[str]:
    return ["AMD"]
