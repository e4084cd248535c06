"""Find the driver's files that containers need under the driver's root."""

from collections.abc import Iterator
from pathlib import Path

from plugins.gpu.discovery.driverpaths import LIBRARY_DIRECTORIES, DriverPaths

_DIRECTORIES = (*LIBRARY_DIRECTORIES, *(f"{directory}/vdpau" for directory in LIBRARY_DIRECTORIES))
"""A loader searches them in containers, too: by default, or because NVIDIA's images name /usr/local/nvidia/lib64 in
LD_LIBRARY_PATH. Programs that decode video look for their libraries in `vdpau`."""

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
    return sorted({path for directory in _DIRECTORIES for path in _matching(paths, directory, version)})


def missing_libraries(paths: DriverPaths, version: str) -> str:
    """Return why containers would get no driver at all; empty if there are libraries of that version."""
    if not version or libraries(paths, version):
        return ""
    where = ", ".join(LIBRARY_DIRECTORIES)
    return f"no library of the driver {version} was found under {paths.driver_root}, in {where}"


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
    earlier = _DIRECTORIES[: _DIRECTORIES.index(directory)]
    return any(paths.driver(other).is_dir() and here.samefile(paths.driver(other)) for other in earlier)
