"""Facts about the AMD GPUs on a node."""

import re
from enum import IntEnum

import msgspec

FAMILIES = {
    "gfx902|gfx909|gfx90c": "RV",
    "gfx9..": "AI",
    "gfx1033": "VGH",
    "gfx1035": "YC",
    "gfx101.|gfx103[0124]": "NV",
    "gfx110[012]": "GC_11_0_0",
    "gfx1103": "GC_11_0_1",
    "gfx115.": "GC_11_5_0",
    "gfx120.": "GC_12_0_0",
}
"""The driver's families by architecture; the first matching pattern wins. gfx1036 is in two families."""


class Link(IntEnum):
    """How two GPUs are connected, with KFD's numbers for the types of links."""

    NONE = 0
    PCIE = 2
    XGMI = 11


class KfdNode(msgspec.Struct, frozen=True):
    """A GPU in KFD's topology: a card, or one of its partitions."""

    number: int
    """Its number in the topology, which changes when GPUs come and go."""
    gpu_id: int
    """The number that KFD uses for it in the files of processes."""
    render_minor: int
    """The number of its render node, such as 128 for /dev/dri/renderD128."""
    card: tuple[int, int, int]
    """What the partitions of a card have in common: its serial number, PCI domain, and PCI bus and device."""
    gfx: str = ""
    """The architecture, such as "gfx942"."""
    vram: int = 0
    """Bytes of memory."""
    simds: int = 0
    simds_per_cu: int = 0
    partition: int = 0
    """The number of the partition on its card; on a card that is not partitioned it may be anything."""

    @property
    def family(self) -> str:
        """The family to which the driver assigns it, as in the node label; empty if unknown."""
        return next((family for pattern, family in FAMILIES.items() if re.fullmatch(pattern, self.gfx)), "")


class Card(msgspec.Struct, frozen=True):
    """A GPU on the PCI bus with the driver bound to it."""

    pci: str
    numa: int | None = None
    """Its NUMA node; None if unknown."""
    compute: str = ""
    """Its compute partition mode in lower case, such as "spx"; empty if it cannot be partitioned."""
    memory: str = ""
    """Its memory partition mode, such as "nps1"."""
    can_set_compute: bool = False
    """Whether its compute partition mode can be changed."""
    can_set_memory: bool = False
    device_id: str = ""
    """Four hexadecimal digits, such as "74a1"."""
    product: str = ""
    """Its name as in the node label: without spaces and brackets; empty if the driver has none."""

    @property
    def mode(self) -> str:
        """Both partition modes, such as "cpx_nps4"; empty if it cannot be partitioned."""
        return f"{self.compute}_{self.memory}" if self.compute and self.memory else ""


class Gpu(msgspec.Struct, frozen=True):
    """What ROCm uses as one GPU: a card or one of its partitions."""

    card: Card
    node: KfdNode
    files: tuple[str, ...]
    """The names of its device files in /dev/dri, such as "card1" and "renderD128"."""
    partition: int | None = None
    """Its number on the card; None for a whole card."""
    partitions: int = 1
    """How many partitions the card has."""
    source: str = ""
    """The name of the device in sysfs that lists its device files: the PCI address of the card, or "amdgpu_xcp.3"."""

    @property
    def id(self) -> str:
        """The card's PCI address and the partition's number; neither changes when the kernel's numbers do."""
        return self.card.pci if self.partition is None else f"{self.card.pci}-{self.partition}"

    @property
    def names(self) -> frozenset[str]:
        """The names that the metrics exporter may use for it; a report about a card applies to all its partitions."""
        own = f"{self.card.pci[:-1]}{self.partition}" if self.partition else self.card.pci
        return frozenset({self.card.pci, self.source, own})


class DriverFacts(msgspec.Struct, frozen=True):
    """Facts about the driver."""

    version: str = ""
    source_version: str = ""
