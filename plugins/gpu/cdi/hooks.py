"""The hooks with which NVIDIA's container toolkit creates links and updates the ld.so cache in containers.

Only hooks that every release of the toolkit has are used: where a container runtime calls an unknown hook, no container
starts. The specification that the toolkit itself writes has all hooks that this toolkit supports.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.settings.file import GPUSettings

Hook = dict[str, Any]

_SONAMES = {"libEGL_nvidia": 0, "libGLX_nvidia": 0, "libGLESv2_nvidia": 2, "libnvidia-nvvm": 4}
"""The version numbers in library names, where they are not 1."""

_LINKS, _CACHE = "create-symlinks", "update-ldcache"


def tool_in_process(paths: DriverPaths, tool: str) -> str:
    """Return where this process sees a program on the node; empty if it does not exist."""
    candidates = [paths.host.path(tool)]
    if str(paths.driver_root) == "/":
        # In a pod, the node's own file system is mounted as the driver root.
        candidates.append(paths.driver(tool))
    return next((str(path) for path in candidates if path.is_file()), "")


def soname(path: str) -> str:
    """Return the name by which programs look for most of the driver's libraries: "libcuda.so.1"."""
    stem = path.partition(".so.")[0]
    return f"{stem}.so.{_SONAMES.get(stem.rpartition('/')[2], 1)}"


def driver_hooks(settings: GPUSettings, paths: DriverPaths, found: Sequence[str], driver: str) -> list[Hook]:
    """Build the hooks for the driver's libraries."""
    versioned = [path for path in found if path.endswith(f".so.{driver}") and "/xorg/" not in path]
    names = {path.rpartition("/")[2].partition(".so.")[0]: path for path in versioned}
    links = {soname(path): path.rpartition("/")[2] for path in versioned}
    links |= {
        f"{names[name].partition('.so.')[0]}.so": f"{name}.so.1"
        for name in ("libcuda", "libnvidia-opticalflow")
        if name in names
    }
    if glx := names.get("libGLX_nvidia"):
        links[f"{glx.rpartition('/')[0]}/libGLX_indirect.so.0"] = glx.rpartition("/")[2]
    if allocator := names.get("libnvidia-allocator"):
        links[f"{allocator.rpartition('/')[0]}/gbm/nvidia-drm_gbm.so"] = "../libnvidia-allocator.so.1"
    folders = dict.fromkeys(path.rpartition("/")[0] for path in found if "/xorg/" not in path)
    return [
        *_hook(settings, paths, _LINKS, [f"--link={target}::{link}" for link, target in links.items()]),
        *_hook(settings, paths, _CACHE, [f"--folder={folder}" for folder in folders]),
    ]


def drm_hooks(settings: GPUSettings, paths: DriverPaths, files: Mapping[str, Sequence[str]]) -> list[Hook]:
    """Build the hook that creates the links in /dev/dri/by-path, for DRM files by PCI address."""
    links = []
    for pci, found in files.items():
        for path in found:
            name = path.rpartition("/")[2]
            kind = "card" if name.startswith("card") else "render"
            links.append(f"--link=../{name}::/dev/dri/by-path/pci-{pci}-{kind}")
    return _hook(settings, paths, _LINKS, links)


def _hook(settings: GPUSettings, paths: DriverPaths, name: str, arguments: Sequence[str]) -> list[Hook]:
    tool, disabled = settings.flags.plugin.nvidia_ctk_path, settings.dphub.cdi.disable_hooks
    if not arguments or {name, "all"} & set(disabled) or not tool_in_process(paths, tool):
        return []
    program = tool.rpartition("/")[2]
    call = [program] if program == "nvidia-cdi-hook" else [program, "hook"]
    return [{"hookName": "createContainer", "path": tool, "args": [*call, name, *arguments]}]
