"""Facts about the GPUs of a node: values that a driver session reads and all other packages use."""

from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from typing import Self

import msgspec


class Engines(msgspec.Struct, frozen=True):
    """How many processors and engines a MIG device has; other MIG devices of its GPU instance may share the engines."""

    multiprocessors: int
    copy: int
    decoder: int
    encoder: int
    jpeg: int
    ofa: int


class MigDevice(msgspec.Struct, frozen=True):
    """A part of a GPU with its own memory and processors (Multi-Instance GPU)."""

    uuid: str
    """ "MIG-..."."""
    index: int
    """Its number on its GPU; "0:1" with the GPU's index before it."""
    profile: str
    """NVIDIA's name for its size, such as "1g.5gb", "1c.3g.20gb" or "1g.5gb+me"."""
    gpu_instance: int
    compute_instance: int
    gpu_slices: int
    compute_slices: int
    memory: int
    """Bytes."""
    fault: str = ""
    """Its fault at the last probe; empty if there is none."""
    engines: Engines | None = None
    """None if unknown."""


class FindingKind(StrEnum):
    """What can be wrong with a GPU that works; the settings define an effect for each."""

    FABRIC = "fabric"
    """The registration with the NVLink fabric is not complete, so CUDA does not start."""
    FABRIC_HEALTH = "fabric_health"
    """The connection to the NVLink fabric is impaired."""
    NVLINK = "nvlink"
    """NVLinks that are active on all other GPUs of the same model are inactive."""
    PCIE = "pcie"
    """The PCIe link has fewer lanes than the GPU and the slot support."""
    REMAP = "remap"
    """Faulty memory is replaced at the next reset."""
    TEMPERATURE = "temperature"
    """It is so hot that it slows down."""


class Finding(msgspec.Struct, frozen=True):
    """What is wrong with a GPU that works."""

    kind: FindingKind
    text: str
    """A text that stays the same while the problem lasts."""


class Gpu(msgspec.Struct, frozen=True):
    """A GPU as the driver describes it."""

    uuid: str
    """ "GPU-..."."""
    index: int
    """Its number in the driver, which may change when GPUs are added or removed."""
    minor: int | None
    """The N of /dev/nvidiaN, which is not its index; None if unknown."""
    name: str
    """The product, such as "NVIDIA H100 80GB HBM3"."""
    pci: str
    """Its PCI address as in sysfs: "0000:07:00.0"; empty if unknown."""
    memory: int | None
    """Bytes; None if unknown, as on a GPU that shares the memory of the CPU."""
    numa: int | None
    """Its NUMA node; None if unknown."""
    compute_capability: tuple[int, int] | None
    """None if unknown."""
    mig: bool = False
    """Whether MIG is enabled; there may be no MIG devices yet."""
    migs: tuple[MigDevice, ...] = ()
    fault: str = ""
    """Its fault at the last probe; empty if there is none."""
    reports_xids: bool = True
    """Whether the card and the driver report its errors; if not, only probes find them."""

    findings: tuple[Finding, ...] = ()
    """What the last probe found that is not in itself a fault."""
    mig_capable: bool = False
    """Whether MIG can be enabled."""

    @property
    def device_file(self) -> str:
        """Its device file; empty if unknown."""
        return "" if self.minor is None else f"/dev/nvidia{self.minor}"

    def with_fault(self, fault: str) -> Self:
        """Return the GPU with an additional fault; unchanged if the fault is empty."""
        return msgspec.structs.replace(self, fault="; ".join(filter(None, (self.fault, fault))))

    def with_findings(self, findings: Iterable[Finding]) -> Self:
        """Return the GPU with additional findings."""
        return msgspec.structs.replace(self, findings=(*self.findings, *findings))


class Ancestor(IntEnum):
    """Where the paths of two GPUs to the CPU meet; the value is NVML's (nvmlGpuTopologyLevel_t)."""

    BOARD = 0
    SINGLE_SWITCH = 10
    MULTIPLE_SWITCHES = 20
    HOST_BRIDGE = 30
    CPU = 40
    SYSTEM = 50


class Link(msgspec.Struct, frozen=True):
    """The connection between two GPUs."""

    ancestor: Ancestor = Ancestor.SYSTEM
    nvlinks: int = 0
    """NVLinks between them, including those through a common switch."""


class Topology(msgspec.Struct, frozen=True):
    """How the GPUs are connected. It does not change while a driver is running."""

    links: Mapping[tuple[str, str], Link] = {}
    """Keyed by pair of UUIDs, the smaller one first."""

    def link(self, one: str, other: str) -> Link:
        """Return the connection between two GPUs; the weakest one if it is unknown."""
        return self.links.get((min(one, other), max(one, other)), Link())


class DriverState(msgspec.Struct, frozen=True):
    """The state of all GPUs when the driver was polled."""

    gpus: tuple[Gpu, ...] = ()
    topology: Topology = Topology()
    driver: str = ""
    """The driver's version; empty if there is no driver."""
    cuda: tuple[int, int] = (0, 0)
    """The newest CUDA that the driver supports; zeros if unknown."""
    unknown: tuple[tuple[str, str], ...] = ()
    """GPUs that the driver counts but cannot identify: a name such as "gpu-index-3", and the reason."""
    reason: str = ""
    """Why there is no GPU; empty if there is one."""


class Xid(msgspec.Struct, frozen=True):
    """An error that the driver reports."""

    gpu: str
    """The GPU's UUID."""
    code: int
    mig: str = ""
    """The MIG device's UUID, if the report names one."""
