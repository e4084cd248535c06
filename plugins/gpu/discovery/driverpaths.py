"""Paths of the NVIDIA driver's files: on the node, and in this process."""

import os
from pathlib import Path

from hub import Host, pci_functions

Path_ = str | os.PathLike[str]

NVIDIA = "10de"
DISPLAY = "03"
"""The class of display controllers."""

LIBRARY_DIRECTORIES = (
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/local/nvidia/lib64",
    "/usr/lib",
)
"""Where distributions, NVIDIA's driver container and cloud images install the driver's libraries; each real
directory comes before its aliases. Used to find NVML and the files for CDI, and by the driver's programs."""


class DriverPaths:
    """The driver's files, whose root on the node may be a separate directory (NVIDIA's driver container).

    Args:
        host: The node's file system.
        driver_root: The directory on the node under which the driver's libraries and programs are installed.
        dev_root: The directory on the node whose dev directory contains the device files ("/" for /dev/nvidia0).
        container_driver_root: Where this process sees `driver_root`; ignored if it is not a directory.
    """

    def __init__(
        self, host: Host, driver_root: Path_ = "/", dev_root: Path_ = "/", container_driver_root: Path_ = ""
    ) -> None:
        self.host = host
        self.driver_root = Path(driver_root)
        self.dev_root = Path(dev_root)
        mounted = Path(container_driver_root) if container_driver_root else None
        self._driver_root_here = mounted if mounted and mounted.is_dir() else host.path(self.driver_root)

    def has_gpus(self) -> bool:
        """Return whether the PCI bus has an NVIDIA GPU that is not passed through to a virtual machine."""
        return any(each.driver != "vfio-pci" for each in pci_functions(self.host, vendor=NVIDIA, class_code=DISPLAY))

    def driver(self, path: Path_) -> Path:
        """Return the path in this process of a file of the driver, given relative to the driver root."""
        return self._driver_root_here / Path(path).relative_to("/")

    def driver_on_node(self, path: Path_) -> Path:
        """Return the path on the node of a file of the driver, given in the same way."""
        return self.driver_root / Path(path).relative_to("/")

    def device_on_node(self, path: Path_) -> Path:
        """Return the path on the node of a device file such as "/dev/nvidia0"."""
        return self.dev_root / Path(path).relative_to("/")

    def device(self, path: Path_) -> Path:
        """Return the path in this process of such a device file."""
        return self.host.path(self.device_on_node(path))
