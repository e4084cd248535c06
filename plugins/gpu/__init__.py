"""NVIDIA GPUs as nvidia.com/gpu."""

from collections.abc import Iterable

from hub import Device, NoDevices, Plugin

DRIVER = "/proc/driver/nvidia/version"
"""There as long as the NVIDIA kernel module is loaded."""


class GPU(Plugin):
    """Says so far whether there could be GPUs, and serves none."""

    resource = "nvidia.com/gpu"

    def devices(self) -> Iterable[Device]:
        """No device, with the reason."""
        if not self.host.path(DRIVER).exists():
            raise NoDevices(f"no NVIDIA driver is loaded on this node: there is no {DRIVER}")
        raise NoDevices("an NVIDIA driver is loaded, but this version does not serve GPUs yet")
