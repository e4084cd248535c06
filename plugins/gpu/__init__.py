"""NVIDIA GPUs, with the configuration format and the Allocate responses of NVIDIA's device plugin.

`plugins.gpu:GPU` is the plugin. It is imported on first use: the reset processes import this package too, but do
not need the plugin.
"""

from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute of the module
    if name != "GPU":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from plugins.gpu.plugin import GPU  # noqa: PLC0415 - see above

    return GPU


def __dir__() -> list[str]:
    return ["GPU"]
