"""RDMA devices: InfiniBand, RoCE and others.

`plugins.ib:IB` is the plugin. It is imported on first use: the reset processes import this package too, but do
not need the plugin.
"""

from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute of the module
    if name != "IB":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from plugins.ib.plugin import IB  # noqa: PLC0415 - see above

    return IB


def __dir__() -> list[str]:
    return ["IB"]
