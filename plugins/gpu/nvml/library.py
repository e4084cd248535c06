"""Find the driver's library, which may be under a separate root directory."""

import ctypes

from plugins.gpu.discovery.driverpaths import LIBRARY_DIRECTORIES, DriverPaths

SONAME = "libnvidia-ml.so.1"


def preload(paths: DriverPaths) -> None:
    """Load the driver's library, so that NVIDIA's bindings find it by its name.

    If it is in none of these directories, the system's loader searches for it.
    """
    for directory in LIBRARY_DIRECTORIES:
        path = paths.driver(f"{directory}/{SONAME}")
        if path.exists():
            try:
                ctypes.CDLL(str(path))
            except OSError:
                # Built for another architecture (32 bit), or damaged; the next one may work.
                continue
            return
