"""Build CDI specifications (Container Device Interface, github.com/cncf-tags)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hub import cdi_spec
from plugins.gpu.allocation import CDI_VENDOR
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.cdi.driverfiles import firmware, libraries, programs, sockets
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu, MigDevice
from plugins.gpu.settings.file import DeviceIDStrategy, GPUSettings

_OPTIONS = ["ro", "nosuid", "nodev", "rbind", "rprivate"]

Spec = dict[str, Any]


def make_specs(
    settings: GPUSettings, paths: DriverPaths, files: DeviceFiles, gpus: Sequence[Gpu], driver: str
) -> dict[str, Spec]:
    """Build all specifications whose names containers may get, by class."""
    if not gpus:
        return {}
    flags = settings.flags
    specs = {
        "gpu": cdi_spec(
            CDI_VENDOR, "gpu", _gpu_devices(settings, paths, files, gpus), _common(settings, paths, files, driver)
        )
    }
    if files.channels:
        channels = {name: [path] for name, path in files.channels.items()}
        specs["imex-channel"] = cdi_spec(CDI_VENDOR, "imex-channel", _with_nodes(paths, channels))
    extras = {
        "gds": (flags.gds_enabled, "/dev", "nvidia-fs*"),
        "mofed": (flags.mofed_enabled, "/dev/infiniband", "*"),
        "gdrcopy": (flags.gdrcopy_enabled, "/dev", "gdrdrv"),
    }
    for name, (wanted, directory, pattern) in extras.items():
        if wanted:
            found = [f"{directory}/{path.name}" for path in sorted(paths.device(directory).glob(pattern))]
            specs[name] = cdi_spec(CDI_VENDOR, name, _with_nodes(paths, {"all": found}))
    return specs


def _with_nodes(paths: DriverPaths, nodes: Mapping[str, Iterable[str]]) -> dict[str, Spec]:
    """Define devices that consist of device files only.

    One without files gets a variable, because edits must not be empty.
    """
    return {name: _nodes(paths, files) or {"env": ["NVIDIA_VISIBLE_DEVICES=void"]} for name, files in nodes.items()}


def _nodes(paths: DriverPaths, files: Iterable[str]) -> Spec:
    nodes = [{"path": path, **_host_path(path, str(paths.device_on_node(path)))} for path in files]
    return {"deviceNodes": nodes} if nodes else {}


def _host_path(path: str, host_path: str) -> Spec:
    return {"hostPath": host_path} if host_path != path else {}


def _gpu_devices(settings: GPUSettings, paths: DriverPaths, files: DeviceFiles, gpus: Sequence[Gpu]) -> dict[str, Spec]:
    by_index = settings.flags.plugin.device_id_strategy is DeviceIDStrategy.INDEX
    nodes: dict[str, list[str]] = {}
    for gpu in gpus:
        nodes[str(gpu.index) if by_index else gpu.uuid] = list(files.of(gpu))
        for mig in gpu.migs:
            nodes[_mig_name(gpu, mig) if by_index else mig.uuid] = list(files.of(gpu, mig))
    nodes["all"] = list(dict.fromkeys(path for files in nodes.values() for path in files))
    return _with_nodes(paths, nodes)


def _mig_name(gpu: Gpu, mig: MigDevice) -> str:
    return f"{gpu.index}:{mig.index}"


def _common(settings: GPUSettings, paths: DriverPaths, files: DeviceFiles, driver: str) -> Spec:
    """Build what every container with a GPU gets: control nodes, the driver, and what the loader needs to find it."""
    found = libraries(paths, driver)
    mounted = [*found, *programs(paths), *sockets(paths), *firmware(paths, driver)]
    tool = settings.flags.plugin.nvidia_ctk_path
    hooks = _hooks(tool, found, driver) if paths.host.path(tool).exists() else []
    mounts = [_mount(paths, path) for path in mounted]
    if not hooks:
        # Without hooks there are no links: mount the libraries under the names that programs look for, too.
        mounts += [_mount(paths, path, _soname(path)) for path in found]
    return {
        # Prevents NVIDIA's container runtime from doing the same again.
        "env": ["NVIDIA_VISIBLE_DEVICES=void"],
        **_nodes(paths, files.control),
        **({"mounts": mounts} if mounts else {}),
        **({"hooks": hooks} if hooks else {}),
    }


def _mount(paths: DriverPaths, path: str, container_path: str = "") -> Spec:
    host_path = str(paths.driver_on_node(path))
    return {"hostPath": host_path, "containerPath": container_path or path, "options": _OPTIONS}


def _soname(path: str) -> str:
    """Return the name by which programs look for most of the driver's libraries: "libcuda.so.1"."""
    return f"{path.partition('.so.')[0]}.so.1"


def _hooks(tool: str, found: Sequence[str], driver: str) -> list[Spec]:
    """Build hooks with which NVIDIA's container toolkit creates the links and the loader's cache."""
    name = tool.rpartition("/")[2]
    call = [name] if name == "nvidia-cdi-hook" else [name, "hook"]
    links = [f"--link={path.rpartition('/')[2]}::{_soname(path)}" for path in found]
    links += [
        f"--link=libcuda.so.1::{path.partition('.so.')[0]}.so"
        for path in found
        if path.endswith(f"libcuda.so.{driver}")
    ]
    folders = [f"--folder={folder}" for folder in dict.fromkeys(path.rpartition("/")[0] for path in found)]
    calls = [[*call, "create-symlinks", *links], [*call, "update-ldcache", *folders]] if found else []
    return [{"hookName": "createContainer", "path": tool, "args": args} for args in calls]
