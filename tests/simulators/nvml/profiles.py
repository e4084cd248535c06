"""Nodes that exist: the number of their GPUs, their connections, and the ways to partition them."""

import uuid
from dataclasses import dataclass, field

GB = 2**30

A100, H100, V100, T4 = "NVIDIA A100-SXM4-40GB", "NVIDIA H100 80GB HBM3", "Tesla V100-SXM2-32GB", "Tesla T4"
GB10, A10_VGPU, RTX, K80 = "NVIDIA GB10", "NVIDIA A10-8Q", "NVIDIA GeForce RTX 4090", "Tesla K80"
MODELS = {
    A100: (40, "8.0"), H100: (80, "9.0"), V100: (32, "7.0"), T4: (16, "7.5"),
    GB10: (120, "12.1"), A10_VGPU: (8, "8.6"), RTX: (24, "8.9"), K80: (12, "3.7"),
}  # fmt: skip
"""The memory of each model in GB, and its compute capability."""

NOT_SUPPORTED, NO_FUNCTION = 3, 13
"""The error codes of NVML functions that the card or the driver does not have (nvmlReturn_t)."""


@dataclass
class SimulatedMig:
    """A MIG device."""

    index: int
    uuid: str
    profile: str
    gi: int
    ci: int
    gpu_slices: int
    compute_slices: int
    memory: int


@dataclass
class SimulatedGpu:
    """A GPU, as its driver describes it."""

    uuid: str
    name: str
    pci: str
    minor: int
    numa: int
    switch: int
    """The number of its PCIe switch."""
    memory: int
    cc: str
    peers: dict[str, int] = field(default_factory=dict)
    """The number of NVLinks to each other GPU, by its UUID."""
    switched: bool = False
    """Whether the links go through NVSwitches."""
    mig: bool = False
    migs: list[SimulatedMig] = field(default_factory=list)
    values: dict[str, int] = field(default_factory=dict)
    """All other values that are not zero."""
    failures: dict[str, int] = field(default_factory=dict)
    """Error codes, by function."""
    processes: list[tuple[int, int, int, int, str]] = field(default_factory=list)
    graphics_processes: list[tuple[int, int, int, int, str]] = field(default_factory=list)
    node: bool = True
    """Whether its device file exists."""
    lacks: dict[str, int] = field(default_factory=dict)
    """The functions that the driver or the card does not have, and what they return."""
    wsl: bool = False
    """Whether the GPU is behind /dev/dxg, without its own device file."""


MIG_LAYOUTS: dict[str, list[tuple[str, int, int, int, int, int]]] = {
    "empty": [],
    "1g": [("1g.5gb", 7 + n, 0, 1, 1, 5) for n in range(7)],
    "mixed": [
        ("3g.20gb", 1, 0, 3, 3, 20),
        ("2g.10gb", 3, 0, 2, 2, 10),
        ("1g.5gb", 9, 0, 1, 1, 5),
        ("1g.5gb+me", 10, 0, 1, 1, 5),
    ],
    "compute": [("1c.3g.20gb", 1, 0, 3, 1, 20), ("1c.3g.20gb", 1, 1, 3, 1, 20), ("3g.20gb", 2, 0, 3, 3, 20)],
}
"""MIG devices, by layout: profile, GPU instance, compute instance, GPU slices, compute slices, GB."""

CUBE_MESH = {
    (0, 1): 1, (0, 2): 1, (0, 3): 2, (0, 4): 2, (1, 2): 2, (1, 3): 1, (1, 5): 2, (2, 3): 2, (2, 6): 1, (3, 7): 1,
    (4, 5): 1, (4, 6): 1, (4, 7): 2, (5, 6): 2, (5, 7): 1, (6, 7): 2,
}  # fmt: skip
"""The NVLinks of a DGX-1 with V100."""


def name_uuid(prefix: str, *words: object) -> str:
    """Return a UUID that is always the same for the same words."""
    return f"{prefix}-{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(map(str, words)))}"


def make_gpu(number: int, count: int, name: str = H100) -> SimulatedGpu:
    """Return one of this many GPUs, of which half are on each NUMA node, and two on each PCIe switch."""
    numa = 2 * number // count if count > 1 else 0
    memory, cc = MODELS[name]
    return SimulatedGpu(
        uuid=name_uuid("GPU", name, number),
        name=name,
        pci=f"0000:{(0x80 if numa else 0) + 0x10 + 4 * number:02x}:00.0",
        # As on real machines, the device files are not in the same order as the GPUs.
        minor=(number + 1) % count if count > 1 else 0,
        numa=numa,
        switch=number // 2,
        memory=memory * GB,
        cc=cc,
    )


LACKS: dict[str, dict[str, int]] = {
    # Driver 470 has no version 2 of the memory information, no fabric and no recovery action.
    "old2": {
        f"nvmlDevice{name}": NO_FUNCTION
        for name in (
            "GetMemoryInfo_v2", "GetComputeRunningProcesses_v3", "GetGraphicsRunningProcesses_v3",
            "GetMPSComputeRunningProcesses_v3", "GetGpuFabricInfo", "GetGpuFabricInfoV", "GetNvLinkRemoteDeviceType",
        )
    },
    # The memory is the processor's, so the functions about separate memory are missing.
    "unified": {
        f"nvmlDevice{name}": NOT_SUPPORTED
        for name in (
            "GetMemoryInfo", "GetMemoryInfo_v2", "GetTotalEccErrors", "GetRemappedRows", "GetRetiredPagesPendingStatus",
            "GetMigMode", "GetNvLinkState", "GetGpuFabricInfo", "GetGpuFabricInfoV", "GetTemperatureThreshold",
            "GetTopologyCommonAncestor", "GetCurrPcieLinkWidth", "GetMaxPcieLinkWidth",
        )
    },
    "noevents2": {f"nvmlDevice{name}": NOT_SUPPORTED for name in ("RegisterEvents", "GetTotalEccErrors")},
    "vgpu": {
        f"nvmlDevice{name}": NOT_SUPPORTED
        for name in (
            "GetRemappedRows", "GetRetiredPagesPendingStatus", "GetMigMode", "GetNvLinkState", "GetGpuFabricInfo",
            "GetGpuFabricInfoV", "GetTemperature", "GetTemperatureThreshold", "GetTopologyCommonAncestor",
            "GetCurrPcieLinkWidth", "GetMaxPcieLinkWidth", "GetFieldValues", "RegisterEvents",
        )
    },
    "wsl2": {
        f"nvmlDevice{name}": NOT_SUPPORTED
        for name in (
            "GetMinorNumber", "GetTotalEccErrors", "GetRemappedRows", "GetRetiredPagesPendingStatus", "GetMigMode",
            "GetNvLinkState", "GetGpuFabricInfo", "GetGpuFabricInfoV", "GetFieldValues", "GetTopologyCommonAncestor",
            "RegisterEvents",
        )
    },
}  # fmt: skip
"""The functions that do not exist in each profile."""

DRIVERS = {"old2": "470.256.02", "unified": "580.95.05", "vgpu": "550.163.01", "wsl2": "572.83"}


def make_profile(profile: str) -> list[SimulatedGpu]:
    """Return the GPUs of a profile.

    none, single, pair, mesh8, switch8, switch16, pcie8, pcie16, a100x2; old2 (driver 470), unified (a GPU that shares
    the CPU's memory), noevents2 (cards that do not report errors), vgpu (in a virtual machine), wsl2.
    """
    count, name = {
        "none": (0, H100), "single": (1, H100), "pair": (2, H100), "mesh8": (8, V100), "switch8": (8, H100),
        "switch16": (16, H100), "pcie8": (8, T4), "pcie16": (16, T4), "a100x2": (2, A100),
        "old2": (2, V100), "unified": (1, GB10), "noevents2": (2, K80), "vgpu": (1, A10_VGPU), "wsl2": (2, RTX),
    }[profile]  # fmt: skip
    gpus = [make_gpu(number, count, name) for number in range(count)]
    for gpu in gpus:
        gpu.lacks = dict(LACKS.get(profile, {}))
        gpu.wsl = profile == "wsl2"
    if profile.startswith("switch"):
        for gpu in gpus:
            gpu.switched = True
            gpu.peers = {other.uuid: 18 for other in gpus if other is not gpu}
    links = {"mesh8": CUBE_MESH, "pair": {(0, 1): 4}}.get(profile, {})
    for (one, other), count in links.items():
        gpus[one].peers[gpus[other].uuid] = gpus[other].peers[gpus[one].uuid] = count
    return gpus


def divide(gpu: SimulatedGpu, layout: str | None) -> None:
    """Give a GPU the MIG devices of a layout; None switches MIG off."""
    gpu.mig = layout is not None
    gpu.migs = [
        SimulatedMig(index, name_uuid("MIG", gpu.uuid, layout, index), profile, gi, ci, slices, compute, size * GB)
        for index, (profile, gi, ci, slices, compute, size) in enumerate(MIG_LAYOUTS[layout or "empty"])
    ]


def ancestor(one: SimulatedGpu, other: SimulatedGpu) -> int:
    """Return where the PCIe paths of two GPUs meet (nvmlGpuTopologyLevel_t)."""
    if one.switch == other.switch:
        return 10
    return 30 if one.numa == other.numa else 50
