"""Build CDI specifications (Container Device Interface, github.com/cncf-tags), on nodes without NVIDIA's toolkit."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hub import cdi_spec
from plugins.gpu.allocation import CDI_VENDOR
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.cdi.driverfiles import DriverLibraries, data_files, firmware, other_libraries, programs, sockets
from plugins.gpu.cdi.hooks import driver_hooks, drm_hooks, soname
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu, MigDevice
from plugins.gpu.settings.file import DeviceIDStrategy, GPUSettings

_OPTIONS = ["ro", "nosuid", "nodev", "rbind", "rprivate"]

VOID = ["NVIDIA_VISIBLE_DEVICES=void"]
"""The variable that prevents NVIDIA's container runtime from making the same changes again."""

Spec = dict[str, Any]


def make_specs(
    settings: GPUSettings, paths: DriverPaths, files: DeviceFiles, gpus: Sequence[Gpu], driver: DriverLibraries
) -> dict[str, Spec]:
    """Build the specifications of all names that containers may get, by class."""
    devices, common = _gpu_devices(settings, paths, files, gpus), _common(settings, paths, files, driver)
    return {"gpu": cdi_spec(CDI_VENDOR, "gpu", devices, common), **_other_specs(settings, paths, files)}


def gpu_names(settings: GPUSettings, gpus: Sequence[Gpu]) -> dict[str, tuple[Gpu, MigDevice | None]]:
    """Return the names of GPUs and MIG devices in Allocate responses."""
    by_index = settings.flags.plugin.device_id_strategy is DeviceIDStrategy.INDEX
    names: dict[str, tuple[Gpu, MigDevice | None]] = {}
    for gpu in gpus:
        names[str(gpu.index) if by_index else gpu.uuid] = gpu, None
        names |= {(f"{gpu.index}:{mig.index}" if by_index else mig.uuid): (gpu, mig) for mig in gpu.migs}
    return names


def _other_specs(settings: GPUSettings, paths: DriverPaths, files: DeviceFiles) -> dict[str, Spec]:
    flags = settings.flags
    specs = {}
    if files.channels:
        channels = {name: _nodes(paths, [path]) for name, path in files.channels.items()}
        specs["imex-channel"] = cdi_spec(CDI_VENDOR, "imex-channel", channels)
    extras: dict[str, tuple[bool, str, list[str], list[str]]] = {
        "gds": (flags.gds_enabled, "/dev", ["nvidia-fs*"], ["/run/udev", "/etc/cufile.json"]),
        "mofed": (flags.mofed_enabled, "/dev/infiniband", ["uverbs*", "rdma_cm"], []),
        "gdrcopy": (flags.gdrcopy_enabled, "/dev", ["gdrdrv"], []),
    }
    for name, (wanted, directory, patterns, mounted) in extras.items():
        if wanted:
            here = paths.device(directory)
            found = [f"{directory}/{path.name}" for pattern in patterns for path in sorted(here.glob(pattern))]
            mounts = [_mount(paths, path) for path in mounted if paths.driver(path).exists()]
            edits = _nodes(paths, found) | ({"mounts": mounts} if mounts else {})
            # Edits must not be empty.
            specs[name] = cdi_spec(CDI_VENDOR, name, {"all": edits or {"env": VOID}})
    return specs


def _nodes(paths: DriverPaths, files: Iterable[str]) -> Spec:
    nodes = [{"path": path, **_host_path(path, str(paths.device_on_node(path)))} for path in files]
    return {"deviceNodes": nodes} if nodes else {}


def _host_path(path: str, host_path: str) -> Spec:
    return {"hostPath": host_path} if host_path != path else {}


def _gpu_devices(
    settings: GPUSettings, paths: DriverPaths, files: DeviceFiles, gpus: Sequence[Gpu]
) -> Mapping[str, Spec]:
    names = gpu_names(settings, gpus)
    nodes = {name: [*files.of(gpu, mig), *drm_files(paths, gpu)] for name, (gpu, mig) in names.items()}
    links = {name: drm_hooks(settings, paths, {gpu.pci: drm_files(paths, gpu)}) for name, (gpu, _) in names.items()}
    nodes["all"] = list(dict.fromkeys(path for found in nodes.values() for path in found))
    links["all"] = drm_hooks(settings, paths, {gpu.pci: drm_files(paths, gpu) for gpu in gpus})
    return {
        name: (_nodes(paths, found) | ({"hooks": links[name]} if links[name] else {})) or {"env": VOID}
        for name, found in nodes.items()
    }


def drm_files(paths: DriverPaths, gpu: Gpu) -> list[str]:
    """Find a GPU's device files for graphics, such as /dev/dri/card0 and /dev/dri/renderD128."""
    names = [path.name for path in paths.host.path(f"/sys/bus/pci/devices/{gpu.pci}/drm").glob("*")] if gpu.pci else []
    found = [f"/dev/dri/{name}" for name in sorted(names) if name.startswith(("card", "renderD"))]
    return [path for path in found if paths.device(path).exists()]


def _common(settings: GPUSettings, paths: DriverPaths, files: DeviceFiles, driver: DriverLibraries) -> Spec:
    """Build what every container with a GPU gets: control nodes, the driver, and what the loader needs to find it."""
    version, found = driver
    others = other_libraries(paths, version)
    hooks = driver_hooks(settings, paths, [*found, *others], version)
    mounts = [_mount(paths, path) for path in (*found, *others, *firmware(paths, version))]
    mounts += [_mount(paths, path, target) for path, target in (programs(paths) | data_files(paths)).items()]
    mounts += [_mount(paths, path, options=[*_OPTIONS, "noexec"]) for path in sockets(paths)]
    if not hooks:
        # Without hooks there are no links: mount the libraries also under the names that programs look for.
        mounts += [_mount(paths, path, soname(path)) for path in found]
    directory = next((path.rpartition("/")[0] for path in found if path.endswith(f"/libcuda.so.{version}")), "")
    return {
        "env": [*VOID, *([f"NVIDIA_CTK_LIBCUDA_DIR={directory}"] if directory else [])],
        **_nodes(paths, files.control),
        **({"mounts": mounts} if mounts else {}),
        **({"hooks": hooks} if hooks else {}),
    }


def _mount(paths: DriverPaths, path: str, container_path: str = "", options: Sequence[str] = _OPTIONS) -> Spec:
    host_path = str(paths.driver_on_node(path))
    return {"hostPath": host_path, "containerPath": container_path or path, "options": list(options)}
