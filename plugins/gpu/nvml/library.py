"""Find the driver's library, which may be under a separate root directory."""

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
"""Where distributions and NVIDIA's driver container install it. A directory that is added here probably belongs in
`LIBRARY_DIRECTORIES` in plugins/gpu/cdi/driverfiles.py too."""


def preload(paths: DriverPaths) -> None:
    """Load the driver's library, so that NVIDIA's bindings find it by its name.

    If it is in none of these directories, the system's loader searches for it.
    """
    for directory in DIRECTORIES:
        path = paths.driver(f"{directory}/{SONAME}")
        if path.exists():
            try:
                ctypes.CDLL(str(path))
            except OSError:
                # Built for another architecture (32 bit), or damaged; the next one may work.
                continue
            return
