"""Devices that a file describes: device files, USB devices, PCI functions and other devices in sysfs.

`plugins.generic:Generic` is the plugin. It is imported on first use: the reset processes import this package too, but
do not need the plugin.
"""

from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute of the module
    if name != "Generic":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from plugins.generic.plugin import Generic  # noqa: PLC0415 - see above

    return Generic


def __dir__() -> list[str]:
    return ["Generic"]
