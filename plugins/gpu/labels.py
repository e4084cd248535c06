"""Node labels, with the names and values of GPU feature discovery, NVIDIA's program for them."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from hub import Host, PciFunction, read_attribute
from plugins.gpu.discovery.facts import DriverState, Gpu, MigDevice
from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import GPUSettings, MigStrategy
from plugins.gpu.settings.sharing import GPU_RESOURCE

Labels = dict[str, str]

_MACHINE = "/sys/class/dmi/id/product_name"
_UNKNOWN = "unknown"
_VERSION = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?", re.ASCII)

_FAMILIES: Mapping[tuple[int, int], str] = {
    (1, 0): "tesla",
    (2, 0): "fermi",
    (3, 0): "kepler",
    (5, 0): "maxwell",
    (6, 0): "pascal",
    (7, 0): "volta",
    (7, 5): "turing",
    (8, 0): "ampere",
    (8, 9): "ada-lovelace",
    (9, 0): "hopper",
    (10, 0): "blackwell",
    (12, 0): "blackwell",
    (13, 0): "rubin",
}
"""Keyed by the first compute capability; an unlisted minor version belongs to the next lower one of the same major
version."""

_MODES = {"030000": "graphics", "030200": "compute"}
"""Keyed by PCI class: a VGA controller, and a 3D controller."""


def node_labels(settings: GPUSettings, state: DriverState, shares: Sequence[Share], host: Host) -> Labels:
    """Return the node labels for these GPUs; none if there is no GPU.

    Args:
        settings: How the GPUs are partitioned and shared.
        state: The GPUs and their driver.
        shares: The advertised devices.
        host: The node's file system.
    """
    gpus = state.gpus
    if not gpus:
        return {}
    mps = settings.sharing.mps is not None and not any(gpu.mig for gpu in gpus)
    return {
        "nvidia.com/gpu.machine": _machine(host),
        "nvidia.com/gpu.mode": _mode(host, gpus),
        "nvidia.com/mig.capable": _boolean(any(gpu.mig_capable for gpu in gpus)),
        "nvidia.com/mps.capable": _boolean(mps),
        **_versions(state),
        **_whole(settings, gpus),
        **_migs(settings, gpus, shares),
    }


def _versions(state: DriverState) -> Labels:
    found: Labels = {}
    if _VERSION.fullmatch(state.driver):
        major, minor, revision = (*state.driver.split("."), "")[:3]
        version = {"major": major, "minor": minor, "revision": revision, "full": state.driver}
        found |= _prefixed("nvidia.com/cuda.driver-version", version)
        found |= _prefixed("nvidia.com/cuda.driver", {"major": major, "minor": minor, "rev": revision})
    if any(state.cuda):
        numbers = {"major": state.cuda[0], "minor": state.cuda[1]}
        full = ".".join(map(str, state.cuda))
        found |= _prefixed("nvidia.com/cuda.runtime-version", {**numbers, "full": full})
        found |= _prefixed("nvidia.com/cuda.runtime", numbers)
    return found


def _whole(settings: GPUSettings, gpus: Sequence[Gpu]) -> Labels:
    """Describe the GPUs of the most frequent model; GPUs without MIG take precedence."""
    counts = Counter(gpu.name for gpu in gpus)
    gpu = max(gpus, key=lambda gpu: (not gpu.mig, counts[gpu.name]))
    found: dict[str, object] = {"count": counts[gpu.name]}
    # The MIG devices of a GPU may be shared, but the GPU itself is not.
    found |= _divided(gpu) if gpu.mig else _advertised(settings, GPU_RESOURCE, gpu.name)
    if gpu.memory:
        found["memory"] = gpu.memory >> 20
    if gpu.compute_capability:
        major, minor = gpu.compute_capability
        found |= {"compute.major": major, "compute.minor": minor, "family": _family(major, minor)}
    return _prefixed(GPU_RESOURCE, found)


def _divided(gpu: Gpu) -> dict[str, object]:
    return {"product": _sanitized(gpu.name), "replicas": 0, "sharing-strategy": Sharing.NONE}


def _migs(settings: GPUSettings, gpus: Sequence[Gpu], shares: Sequence[Share]) -> Labels:
    """Describe the MIG devices that are advertised.

    With the `single` strategy, these are the MIG devices of the most common size, and their labels replace those of
    whole GPUs. GPU feature discovery describes them only if all MIG devices of the node have the same size.
    """
    strategy = settings.flags.mig_strategy
    if strategy is MigStrategy.NONE:
        return {}
    found: Labels = {"nvidia.com/mig.strategy": strategy}
    served = {share.uuid: (share.gpu, share.mig) for share in shares if share.mig}
    by_profile: dict[str, list[tuple[Gpu, MigDevice]]] = {}
    for gpu, mig in served.values():
        by_profile.setdefault(mig.profile.replace("+", "."), []).append((gpu, mig))
    for profile, devices in by_profile.items():
        resource = GPU_RESOURCE if strategy is MigStrategy.SINGLE else f"nvidia.com/mig-{profile}"
        found |= _mig(settings, resource, profile, devices)
    divided = [gpu for gpu in gpus if gpu.mig]
    if strategy is MigStrategy.SINGLE and divided and not served:
        product = f"{_sanitized(divided[0].name)}-MIG-INVALID"
        none = {"product": product, "count": 0, "replicas": 0, "sharing-strategy": "", "memory": 0}
        found |= _prefixed(GPU_RESOURCE, none)
    return found


def _mig(settings: GPUSettings, resource: str, profile: str, devices: Sequence[tuple[Gpu, MigDevice]]) -> Labels:
    gpu, mig = devices[0]
    found: dict[str, object] = {
        "count": len(devices),
        **_advertised(settings, resource, gpu.name, "MIG", profile),
        "memory": mig.memory >> 20,
        "slices.gi": mig.gpu_slices,
        "slices.ci": mig.compute_slices,
    }
    if engines := mig.engines:
        found["multiprocessors"] = engines.multiprocessors
        found |= {f"engines.{name}": getattr(engines, name) for name in ("copy", "decoder", "encoder", "jpeg", "ofa")}
    return _prefixed(resource, found)


def _advertised(settings: GPUSettings, resource: str, *product: str) -> dict[str, object]:
    """Describe how devices are shared. The product shows that they are, unless the resource name shows it already."""
    parts = list(map(_sanitized, product))
    mode = settings.sharing.mode
    entry = next((each for each in mode.entries if each.name == resource), None) if mode else None
    if not mode or not entry:
        return {"product": "-".join(parts), "replicas": 1, "sharing-strategy": Sharing.NONE}
    if mode.name_of(entry) == resource:
        parts.append("SHARED")
    strategy = Sharing.MPS if settings.sharing.mps else Sharing.TIME_SLICING
    return {"product": "-".join(parts), "replicas": entry.replicas, "sharing-strategy": strategy}


def _sanitized(text: str) -> str:
    return "-".join(re.sub(r"[^A-Za-z0-9\-_. ]", "", text).split())


def _family(major: int, minor: int) -> str:
    known = [first for first in _FAMILIES if first[0] == major and first[1] <= minor]
    return _FAMILIES[max(known)] if known else "undefined"


def _machine(host: Host) -> str:
    return _sanitized(read_attribute(host.path(_MACHINE))) or _UNKNOWN


def _mode(host: Host, gpus: Sequence[Gpu]) -> str:
    functions = [PciFunction(host.path(f"/sys/bus/pci/devices/{gpu.pci}")) for gpu in gpus if gpu.pci]
    modes = {_MODES.get(each.class_code, _UNKNOWN) for each in functions}
    return modes.pop() if len(modes) == 1 else _UNKNOWN


def _boolean(value: bool) -> str:  # noqa: FBT001 - the value of a label
    return str(value).lower()


def _prefixed(prefix: str, found: Mapping[str, object]) -> Labels:
    return {f"{prefix}.{name}": str(value) for name, value in found.items()}
