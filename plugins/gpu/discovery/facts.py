"""What is known of the GPUs of a node: values that a driver session reads and everything else works with."""

from collections.abc import Mapping
from enum import IntEnum

import msgspec


class MigDevice(msgspec.Struct, frozen=True):
    """A part of a GPU with memory and processors of its own (Multi-Instance GPU)."""

    uuid: str
    """ "MIG-..."."""
    index: int
    """Its number on its GPU; with the GPU's own it is written "0:1"."""
    profile: str
    """What NVIDIA calls its size, such as "1g.5gb", "1c.3g.20gb" or "1g.5gb+me"."""
    gpu_instance: int
    compute_instance: int
    gpu_slices: int
    compute_slices: int
    memory: int
    """Bytes."""
    fault: str = ""
    """What is wrong with it as of the last probe; empty when nothing is."""


class Gpu(msgspec.Struct, frozen=True):
    """A GPU as the driver describes it."""

    uuid: str
    """ "GPU-..."."""
    index: int
    """The driver's number for it, which changes when another GPU goes or comes."""
    minor: int
    """The N of /dev/nvidiaN, which is not its index."""
    name: str
    """The product, such as "NVIDIA H100 80GB HBM3"."""
    pci: str
    """Its PCI address as in sysfs: "0000:07:00.0"."""
    memory: int
    """Bytes."""
    numa: int | None
    """Its NUMA node; None where that is unknown."""
    compute_capability: tuple[int, int]
    mig: bool = False
    """Whether it is divided into MIG devices, of which there may be none yet."""
    migs: tuple[MigDevice, ...] = ()
    fault: str = ""
    """What is wrong with it as of the last probe; empty when nothing is."""


class Ancestor(IntEnum):
    """Where the paths of two GPUs to the processor meet; the value is NVML's (nvmlGpuTopologyLevel_t)."""

    BOARD = 0
    SINGLE_SWITCH = 10
    MULTIPLE_SWITCHES = 20
    HOST_BRIDGE = 30
    CPU = 40
    SYSTEM = 50


class Link(msgspec.Struct, frozen=True):
    """What connects two GPUs."""

    ancestor: Ancestor = Ancestor.SYSTEM
    nvlinks: int = 0
    """NVLinks between them, those through a switch that both are on included."""


class Topology(msgspec.Struct, frozen=True):
    """How the GPUs are connected. It does not change while a driver runs."""

    links: Mapping[tuple[str, str], Link] = {}
    """By the UUIDs of a pair, the smaller one first."""

    def link(self, one: str, other: str) -> Link:
        """What connects two GPUs; the loosest connection where nothing is known."""
        return self.links.get((min(one, other), max(one, other)), Link())


class DriverState(msgspec.Struct, frozen=True):
    """What a driver session knows as of its last look."""

    gpus: tuple[Gpu, ...] = ()
    topology: Topology = Topology()
    driver: str = ""
    """The driver's version; empty where there is none."""
    cuda: tuple[int, int] = (0, 0)
    """The newest CUDA that the driver supports."""
    unknown: tuple[tuple[str, str], ...] = ()
    """GPUs that the driver counts and cannot name: what they are called here, such as "gpu-index-3", and why."""
    reason: str = ""
    """Why there is no GPU, where there is none."""
