"""Read how the GPUs are connected."""

from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pynvml

from plugins.gpu.discovery.facts import Ancestor, Gpu, Link, Topology
from plugins.gpu.nvml.calls import Nvml, NvmlError
from plugins.gpu.nvml.reading import sysfs_address

_SWITCH = pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH


def read_topology(nvml: Nvml, gpus: Mapping[str, tuple[Any, Gpu]]) -> Topology:
    """Read the links between all pairs of GPUs; an unknown one counts as the weakest connection.

    Args:
        nvml: The driver.
        gpus: Handle and facts by UUID.
    """
    ends = {uuid: _ends(nvml, handle) for uuid, (handle, _) in gpus.items()}
    links = {}
    for one, other in combinations(sorted(gpus), 2):
        shared_switch = min(ends[one][""], ends[other][""])
        direct = ends[one][gpus[other][1].pci or "unknown"]
        links[one, other] = Link(_ancestor(nvml, gpus[one][0], gpus[other][0]), direct + shared_switch)
    return Topology(links)


def _ancestor(nvml: Nvml, one: Any, other: Any) -> Ancestor:  # noqa: ANN401 - NVML's handles
    try:
        # Without a response, the result is None, which is not a level either.
        return Ancestor(nvml.ask("nvmlDeviceGetTopologyCommonAncestor", one, other))
    except (NvmlError, ValueError):
        return Ancestor.SYSTEM


def _ends(nvml: Nvml, handle: Any) -> Counter[str]:  # noqa: ANN401 - NVML's handle
    """Count the active NVLinks of a GPU by the PCI address at the other end; "" stands for NVSwitches.

    All GPUs of a node are on the same switches, so each reaches every other through all of its links to them.
    """
    ends: Counter[str] = Counter()
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
        try:
            active = nvml.ask("nvmlDeviceGetNvLinkState", handle, link)
            if active is None:
                break
            if not active:
                continue
            if nvml.ask("nvmlDeviceGetNvLinkRemoteDeviceType", handle, link) == _SWITCH:
                ends[""] += 1
            elif remote := nvml.ask("nvmlDeviceGetNvLinkRemotePciInfo", handle, link):
                ends[sysfs_address(remote.busId)] += 1
        except NvmlError:
            # Links are numbered from 0: the card has no further ones.
            break
    return ends
