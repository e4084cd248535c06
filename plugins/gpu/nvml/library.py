"""Find the driver's library, which may be under a separate root directory."""

import ctypes

from plugins.gpu.discovery.driverpaths import LIBRARY_DIRECTORIES, DriverPaths

SONAME = "libnvidia-ml.so.1"

NOT_FOUND = "nvmlInit: NVML Shared Library Not Found"
"""The error that NVIDIA's bindings raise if there is no library."""

VERSION_FILE = "/proc/driver/nvidia/version"
"""Exists while the NVIDIA kernel module is loaded."""


def load_library(paths: DriverPaths) -> bool:
    """Load the driver's library, so that NVIDIA's bindings find it by its name; return whether there is one.

    If the library is in none of `LIBRARY_DIRECTORIES`, the system's loader searches for it.
    """
    candidates = (paths.driver(f"{directory}/{SONAME}") for directory in LIBRARY_DIRECTORIES)
    return any(_loads(str(path)) for path in candidates if path.exists()) or _loads(SONAME)


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        # The library is for another architecture (32 bit), or damaged; the next one may work.
        return False
    return True


def no_driver(paths: DriverPaths, error: str) -> str:
    """Explain why there is no session with the driver, given NVML's error."""
    version = paths.host.path(VERSION_FILE)
    if not version.exists():
        return f"no NVIDIA driver is loaded on this node: {VERSION_FILE} does not exist ({error})"
    if "Library Not Found" in error:
        where = f"under {paths.driver_root}, in {', '.join(LIBRARY_DIRECTORIES)}"
        return f"an NVIDIA driver is loaded, but its library {SONAME} was not found {where} ({error})"
    return f"the NVIDIA driver cannot be used: {error}"
