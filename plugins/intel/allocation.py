"""Build what a container gets for its GPUs."""

from collections.abc import Iterable

from hub import DeviceNode, Mount
from plugins.intel.discovery.gpus import BY_PATH, DEV, DRI, Gpu
from plugins.intel.settings import ByPath


def device_nodes(gpu: Gpu) -> list[DeviceNode]:
    """Return the device files of a GPU."""
    return [DeviceNode(f"{DRI}/{name}") for name in gpu.files]


def monitor_nodes(gpus: Iterable[Gpu]) -> list[DeviceNode]:
    """Return the device files of all GPUs and of their management engines."""
    nodes = [node for gpu in gpus for node in (*device_nodes(gpu), *_management_nodes(gpu))]
    return list(dict.fromkeys(nodes))


def mounts(gpu: Gpu, bypath: ByPath, *, has_links: bool) -> list[Mount]:
    """Return the links that a container with a GPU gets.

    Args:
        gpu: The GPU.
        bypath: Which links to mount.
        has_links: Whether the node has the directory of the links.
    """
    if bypath is ByPath.ALL and has_links:
        return [Mount(BY_PATH)]
    return [Mount(f"{BY_PATH}/{link}") for link in gpu.links] if bypath is ByPath.SINGLE else []


def environment(gpu: Gpu, variable: str) -> dict[str, str]:
    """Return the variable that gives a container the path of a GPU's render node.

    Args:
        gpu: The GPU.
        variable: The name of the variable; empty if there is none.
    """
    return {variable: gpu.render} if variable and gpu.render else {}


def _management_nodes(gpu: Gpu) -> Iterable[DeviceNode]:
    return (DeviceNode(f"{DEV}/{name}") for name in gpu.meis)
