"""Find the driver's files that containers need under the driver's root."""

from collections.abc import Iterator
from pathlib import Path

from plugins.gpu.discovery.driverpaths import DriverPaths

LIBRARY_DIRECTORIES = (
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib/x86_64-linux-gnu/vdpau",
    "/usr/lib64/vdpau",
)
"""The directories of the libraries that containers need; each real directory comes before its aliases. A directory that
is added here probably belongs in `DIRECTORIES` in plugins/gpu/nvml/library.py too."""

PROGRAMS = (
    "nvidia-smi",
    "nvidia-debugdump",
    "nvidia-persistenced",
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
)

SOCKETS = ("/run/nvidia-persistenced/socket", "/run/nvidia-fabricmanager/socket")


def libraries(paths: DriverPaths, version: str) -> list[str]:
    """Find the libraries of a driver version: all with the version in their names."""
    return sorted({path for directory in LIBRARY_DIRECTORIES for path in _matching(paths, directory, version)})


def programs(paths: DriverPaths) -> list[str]:
    """Find the driver's programs."""
    return [f"/usr/bin/{name}" for name in PROGRAMS if paths.driver(f"/usr/bin/{name}").exists()]


def sockets(paths: DriverPaths) -> list[str]:
    """Find the sockets of the driver's services."""
    return [path for path in SOCKETS if paths.driver(path).exists()]


def firmware(paths: DriverPaths, version: str) -> list[str]:
    """Find the firmware of the GPUs' own processors."""
    directory = f"/lib/firmware/nvidia/{version}"
    found = paths.driver(directory)
    return [f"{directory}/{path.name}" for path in sorted(found.glob("gsp*.bin"))] if found.is_dir() else []


def _matching(paths: DriverPaths, directory: str, version: str) -> Iterator[str]:
    here = paths.driver(directory)
    if not version or not here.is_dir() or _is_alias(here, paths, directory):
        return
    for path in here.glob(f"lib*.so.{version}"):
        yield f"{directory}/{path.name}"


def _is_alias(here: Path, paths: DriverPaths, directory: str) -> bool:
    """Whether this is a link to an earlier directory of the list, such as /lib64 to /usr/lib64."""
    earlier = LIBRARY_DIRECTORIES[: LIBRARY_DIRECTORIES.index(directory)]
    return any(paths.driver(other).is_dir() and here.samefile(paths.driver(other)) for other in earlier)
