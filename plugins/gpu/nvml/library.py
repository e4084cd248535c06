"""Finding the driver's library, which may be below a root of its own."""

import ctypes

from plugins.gpu.discovery.driverpaths import DriverPaths

SONAME = "libnvidia-ml.so.1"

DIRECTORIES = (
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/local/nvidia/lib64",
    "/usr/lib",
)
"""Where distributions and NVIDIA's driver container put it."""


def preload(places: DriverPaths) -> None:
    """Load the driver's own library, so that NVIDIA's bindings find it by its name.

    Where there is none, the system's loader is left to look for it.
    """
    for directory in DIRECTORIES:
        path = places.driver(f"{directory}/{SONAME}")
        if path.exists():
            try:
                ctypes.CDLL(str(path))
            except OSError:
                # Made for another machine (32 bit), or broken; the next one may not be.
                continue
            return
