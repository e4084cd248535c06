"""Find the driver's files that containers need, under the driver's root, as NVIDIA's container toolkit does."""

import os
import stat
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from plugins.gpu.discovery.driverpaths import LIBRARY_DIRECTORIES, DriverPaths

_DIRECTORIES = (*LIBRARY_DIRECTORIES, *(f"{directory}/vdpau" for directory in LIBRARY_DIRECTORIES))
"""Directories that the loader searches in containers, too: by default, or because NVIDIA's images name
/usr/local/nvidia/lib64 in LD_LIBRARY_PATH. Programs that decode video look for their libraries in `vdpau`."""

_OTHER_LIBRARIES = (
    "libnvidia-nvvm70.so.*",
    *(f"libnvidia-egl-{name}.so.*.*" for name in ("gbm", "wayland", "wayland2", "xcb", "xlib")),
)
"""Libraries of the driver that have versions of their own."""

_XORG_DIRECTORIES = (
    "nvidia/xorg",
    *(f"xorg/modules{updates}/{kind}" for updates in ("", "/updates") for kind in ("drivers", "extensions")),
)
"""Where the X server looks for modules, below a directory of libraries."""

PROGRAMS = (
    "nvidia-smi",
    "nvidia-debugdump",
    "nvidia-persistenced",
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
    "nvidia-imex",
    "nvidia-imex-ctl",
    "nvidia-xconfig",
)

_PROGRAM_DIRECTORIES = ("/usr/bin", "/usr/local/nvidia/bin")

SOCKETS = ("/run/nvidia-persistenced/socket", "/run/nvidia-fabricmanager/socket")
MPS_DIRECTORY = "/tmp/nvidia-mps"  # noqa: S108 - CUDA's default for the sockets of an MPS daemon

_SHARED = (
    "glvnd/egl_vendor.d/10_nvidia.json",
    "egl/egl_external_platform.d/09_nvidia_wayland2.json",
    "egl/egl_external_platform.d/10_nvidia_wayland.json",
    "egl/egl_external_platform.d/15_nvidia_gbm.json",
    "egl/egl_external_platform.d/20_nvidia_xcb.json",
    "egl/egl_external_platform.d/20_nvidia_xlib.json",
    "nvidia/nvoptix.bin",
    "X11/xorg.conf.d/10-nvidia.conf",
    "X11/xorg.conf.d/nvidia-drm-outputclass.conf",
)
"""Files that containers have in /usr/share."""

_CONFIGURED = (
    "OpenCL/vendors/nvidia.icd",
    "vulkan/icd.d/nvidia_icd.json",
    "vulkan/icd.d/nvidia_icd.x86_64.json",
    "vulkan/icd.d/nvidia_icd.aarch64.json",
    "vulkan/icd.d/nvidia_layers.json",
    "vulkan/implicit_layer.d/nvidia_layers.json",
)
"""Files that containers have in /etc; a node has them in /etc or in /usr/share."""


class DriverLibraries(NamedTuple):
    """The libraries of a driver version that the node has."""

    version: str
    found: Sequence[str]

    def problem(self, paths: DriverPaths) -> str:
        """Return why containers would get no driver at all; empty if they get one, or if there is no driver."""
        if not self.version or self.found:
            return ""
        where = ", ".join(LIBRARY_DIRECTORIES)
        return f"no library of the driver {self.version} was found under {paths.driver_root}, in {where}"


def libraries(paths: DriverPaths, version: str) -> DriverLibraries:
    """Find the libraries of a driver version: all with the version in their names."""
    return DriverLibraries(version, _found(paths, [f"lib*.so.{version}"]) if version else [])


def other_libraries(paths: DriverPaths, version: str) -> list[str]:
    """Find libraries that come with the driver and have other versions, and modules for the X server."""
    modules = {
        path
        for directory in LIBRARY_DIRECTORIES
        for part in _XORG_DIRECTORIES
        for name in ("nvidia_drv.so", f"libglxserver_nvidia.so.{version}")
        if _is_own(paths, directory) and paths.driver(path := f"{directory}/{part}/{name}").exists()
    }
    return [*_found(paths, _OTHER_LIBRARIES), *sorted(modules)]


def data_files(paths: DriverPaths) -> dict[str, str]:
    """Find the driver's data and configuration files, and where containers have them."""
    shared = {f"/usr/share/{name}": f"/usr/share/{name}" for name in _SHARED}
    configured = {
        next((path for path in candidates if paths.driver(path).exists()), candidates[0]): candidates[0]
        for candidates in ([f"/etc/{name}", f"/usr/share/{name}"] for name in _CONFIGURED)
    }
    return {path: target for path, target in (shared | configured).items() if paths.driver(path).exists()}


def programs(paths: DriverPaths) -> dict[str, str]:
    """Find the driver's programs, and where containers have them."""
    found = {}
    for name in PROGRAMS:
        candidates = [f"{directory}/{name}" for directory in _PROGRAM_DIRECTORIES]
        if path := next((each for each in candidates if paths.driver(each).exists()), ""):
            found[path] = f"/usr/bin/{name}"
    return found


def sockets(paths: DriverPaths) -> list[str]:
    """Find the sockets of the driver's services, and the directory with those of an MPS daemon.

    Any user can create a file in /tmp: there, only what belongs to root is the driver's, and no link is followed.
    """
    found = [path for path in SOCKETS if paths.driver(path).exists()]
    return [*found, *([MPS_DIRECTORY] if _is_own_directory(paths.driver(MPS_DIRECTORY)) else [])]


def _is_own_directory(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid in {0, os.geteuid()}


def firmware(paths: DriverPaths, version: str) -> list[str]:
    """Find the firmware of the GPUs' own processors, where the kernel looks for it."""
    for parent in ("/lib/firmware/updates", "/lib/firmware", "/usr/local/nvidia/firmware"):
        directory = f"{parent}/nvidia/{version}"
        found = paths.driver(directory)
        if found.is_dir():
            return [f"{directory}/{path.name}" for path in sorted(found.glob("gsp*.bin"))]
    return []


def _found(paths: DriverPaths, patterns: list[str] | tuple[str, ...]) -> list[str]:
    return sorted({path for directory in _DIRECTORIES for path in _matching(paths, directory, patterns)})


def _matching(paths: DriverPaths, directory: str, patterns: list[str] | tuple[str, ...]) -> Iterator[str]:
    if _is_own(paths, directory):
        here = paths.driver(directory)
        for path in chain.from_iterable(map(here.glob, patterns)):
            yield f"{directory}/{path.name}"


def _is_own(paths: DriverPaths, directory: str) -> bool:
    """Return whether this is a directory, not a link to an earlier one in the list, such as /lib64 to /usr/lib64."""
    here = paths.driver(directory)
    return here.is_dir() and not _is_alias(here, paths, directory)


def _is_alias(here: Path, paths: DriverPaths, directory: str) -> bool:
    earlier = _DIRECTORIES[: _DIRECTORIES.index(directory)]
    return any(paths.driver(other).is_dir() and here.samefile(paths.driver(other)) for other in earlier)
