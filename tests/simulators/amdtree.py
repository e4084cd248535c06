"""Nodes with simulated AMD GPUs: sysfs, KFD's topology and device files as the driver makes them."""

import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MI300X = "74a1"
"""A PCI device id."""

GIB = 2**30
_PARTITIONS = {"": 1, "SPX": 1, "DPX": 2, "TPX": 3, "QPX": 4}


@dataclass
class SimulatedCard:
    """A card and its current mode."""

    pci: str
    device: str
    product: str
    gfx: int
    vram: int
    simds: int
    xccs: int
    numa: int
    hive: int
    serial: int
    compute: str
    memory: str
    card: int
    minors: Sequence[int]
    """The numbers of the card's render nodes, that of its first partition first."""
    hidden: set[int] = field(default_factory=set)
    """Partitions that KFD does not list."""

    @property
    def partitions(self) -> int:
        """The number of partitions in the card's mode: in mode CPX, each of its compute dies is one."""
        return self.xccs if self.compute == "CPX" else _PARTITIONS[self.compute]

    @property
    def parts(self) -> Iterator[tuple[int, int]]:
        """The partitions, each with the number of its render node."""
        return ((k, minor) for k, minor in enumerate(self.minors[: self.partitions]) if k not in self.hidden)

    def gpu_id(self, partition: int = 0) -> int:
        """Return KFD's number of a partition."""
        return zlib.crc32(f"{self.pci} {partition} {self.compute}".encode()) & 0xFFFF


class AmdTree:
    """The node's file system, to be changed while a plugin reads it.

    Args:
        root: An empty directory.
        separator: What precedes the number in the names of partitions' platform devices: "." on newer kernels, "_" on
            older ones.
        processors: The number of NUMA nodes.
    """

    def __init__(self, root: Path, *, separator: str = ".", processors: int = 2) -> None:
        self.root = root
        self.cards: dict[str, SimulatedCard] = {}
        self._separator = separator
        self._processors = processors
        self._partitions = 0
        self._next_card, self._next_minor = 1, 128
        self._generation = 1
        self._changing = False
        self._put("sys/module/amdgpu/version", "6.12.12")
        self._put("sys/module/amdgpu/srcversion", "3A6F1B2C4D5E")
        (self._driver / "module").mkdir(parents=True)
        (root / "sys/devices/platform/serial8250").mkdir(parents=True)
        self._bus.mkdir(parents=True)
        (root / "dev/dri").mkdir(parents=True)
        self._put("dev/kfd", "")
        self._build_topology()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Make several changes in the block, after which KFD builds its topology once."""
        self._changing = True
        yield
        self._changing = False
        self._build_topology()

    def add(
        self,
        pci: str,
        *,
        device: str = MI300X,
        product: str = "AMD Instinct MI300X OAM",
        gfx: int = 90402,
        vram: int = 192 * GIB,
        simds: int = 1216,
        xccs: int = 8,
        numa: int = 0,
        hive: int = 1,
        compute: str = "SPX",
        memory: str = "NPS1",
    ) -> SimulatedCard:
        """Add a card; without a compute mode, it cannot be partitioned."""
        count = 8 if compute else 1
        minors = range(self._next_minor, self._next_minor + count)
        card = SimulatedCard(
            *(pci, device, product, gfx, vram, simds, xccs, numa, hive),
            *(1 + zlib.crc32(pci.encode()), compute, memory, self._next_card, minors),
        )
        self._next_card, self._next_minor = self._next_card + count, self._next_minor + count
        self.cards[pci] = card
        function = self.function(pci)
        files = {
            "numa_node": numa,
            "vendor": "0x1002",
            "device": f"0x{device}",
            "class": "0x120000" if compute else "0x030000",
        }
        files |= {"product_name": product} if product else {}
        if compute:
            files |= {"available_compute_partition": "SPX, DPX, QPX, CPX", "available_memory_partition": "NPS1, NPS4"}
        for name, value in files.items():
            self._put(function / name, value)
        self._add_files(function, card.card, minors[0])
        for number, minor in enumerate(minors[1:], 1):
            name = f"amdgpu_xcp{self._separator}{self._partitions}"
            self._add_files(self.root / "sys/devices/platform" / name, card.card + number, minor)
            self._partitions += 1
        for directory in (self._driver, self._bus):
            (directory / pci).symlink_to(os.path.relpath(function, directory))
        self.partition(pci, compute, memory)
        return card

    def partition(self, pci: str, compute: str, memory: str) -> None:
        """Change the mode of the card."""
        card = self.cards[pci]
        card.compute, card.memory = compute, memory
        if compute:
            self._put(self.function(pci) / "current_compute_partition", compute)
            self._put(self.function(pci) / "current_memory_partition", memory)
        self._build_topology()

    def show(self, pci: str) -> None:
        """Make KFD list all partitions of a card again."""
        self.cards[pci].hidden.clear()
        self._build_topology()

    def hide(self, pci: str, *partitions: int) -> None:
        """Make KFD stop listing these partitions of a card."""
        self.cards[pci].hidden.update(partitions)
        self._build_topology()

    def remove(self, pci: str) -> None:
        """Remove the card, with the device files of all its partitions."""
        card = self.cards.pop(pci)
        for directory in (self._driver, self._bus):
            (directory / pci).unlink()
        shutil.rmtree(self.function(pci))
        for minor in card.minors:
            for directory in (self.root / "sys/devices/platform").glob(f"*/drm/renderD{minor}"):
                shutil.rmtree(directory.parent.parent)
            (self.root / f"dev/dri/renderD{minor}").unlink()
        for number in range(len(card.minors)):
            (self.root / f"dev/dri/card{card.card + number}").unlink()
        self._build_topology()

    def remove_kfd(self) -> None:
        """Simulate a driver that was loaded without its compute part."""
        shutil.rmtree(self.root / "sys/class/kfd")
        (self.root / "dev/kfd").unlink()

    def fill(self, pid: int, pci: str, size: int, partition: int = 0, name: str = "python3") -> None:
        """Simulate a process that holds this many bytes of a GPU."""
        for card in self.cards.values():
            for number, _ in card.parts:
                held = size if (card.pci, number) == (pci, partition) else 0
                self._put(f"sys/class/kfd/kfd/proc/{pid}/vram_{card.gpu_id(number)}", held)
        if name:
            self._put(f"proc/{pid}/comm", name)

    def exit(self, pid: int) -> None:
        """Simulate the exit of a process."""
        shutil.rmtree(self.root / f"sys/class/kfd/kfd/proc/{pid}")
        shutil.rmtree(self.root / f"proc/{pid}", ignore_errors=True)

    def function(self, pci: str) -> Path:
        """Return the directory of a card in sysfs."""
        return self.root / f"sys/devices/pci{pci[:5]}00/{pci}"

    def node(self, pci: str, partition: int = 0) -> Path:
        """Return the directory of a GPU in KFD's topology."""
        return self._topology / f"nodes/{self._numbers[pci, partition]}"

    @property
    def _numbers(self) -> dict[tuple[str, int], int]:
        parts = [(card.pci, partition) for card in self.cards.values() for partition, _ in card.parts]
        return {part: number for number, part in enumerate(parts, self._processors)}

    @property
    def _driver(self) -> Path:
        return self.root / "sys/module/amdgpu/drivers/pci:amdgpu"

    @property
    def _bus(self) -> Path:
        return self.root / "sys/bus/pci/devices"

    @property
    def _topology(self) -> Path:
        return self.root / "sys/class/kfd/kfd/topology"

    def _build_topology(self) -> None:
        """Number KFD's nodes again, as when GPUs come and go."""
        if self._changing:
            return
        shutil.rmtree(self._topology / "nodes", ignore_errors=True)
        for number in range(self._processors):
            self._put_properties(self._topology / f"nodes/{number}", cpu_cores_count=64, drm_render_minor=0)
            self._put(self._topology / f"nodes/{number}/gpu_id", 0)
        numbers = self._numbers
        for card in self.cards.values():
            for partition, minor in card.parts:
                self._build_node(card, partition, minor, numbers)
        self._generation += 1
        self._put(self._topology / "generation_id", self._generation)

    def _build_node(self, card: SimulatedCard, partition: int, minor: int, numbers: dict[tuple[str, int], int]) -> None:
        node = self._topology / f"nodes/{numbers[card.pci, partition]}"
        domain, bus, rest = card.pci.split(":")
        slot, _, function = rest.partition(".")
        parts = card.partitions
        self._put_properties(
            node,
            cpu_cores_count=0,
            simd_count=card.simds // parts,
            simd_per_cu=4 if card.gfx < 100000 else 2,
            gfx_target_version=card.gfx,
            vendor_id=0x1002,
            device_id=int(card.device, 16),
            location_id=int(bus, 16) << 8 | int(slot, 16) << 3 | int(function) | self._number_bits(partition),
            domain=int(domain, 16),
            drm_render_minor=minor,
            hive_id=card.hive,
            unique_id=card.serial,
        )
        self._put(node / "gpu_id", card.gpu_id(partition))
        self._put_properties(node / "mem_banks/0", heap_type=1, size_in_bytes=card.vram // parts)
        if partition == min(number for number, _ in card.parts):
            self._build_links(card, node, numbers)

    def _number_bits(self, partition: int) -> int:
        """Return the bits of a location that hold the partition's number; newer kernels use different ones."""
        return partition << 28 if self._separator == "." else partition

    def _build_links(self, card: SimulatedCard, node: Path, numbers: dict[tuple[str, int], int]) -> None:
        """Create the links of a card's first partition; those of the others would be the same."""
        own = int(node.name)
        self._put_properties(node / "io_links/0", type=2, node_from=own, node_to=card.numa)
        for (pci, _), peer in numbers.items():
            if peer != own:
                xgmi = pci == card.pci or (card.hive and self.cards[pci].hive == card.hive)
                link = node / f"{'io' if xgmi else 'p2p'}_links/{peer}"
                self._put_properties(link, type=11 if xgmi else 2, node_from=own, node_to=peer)

    def _add_files(self, directory: Path, card: int, minor: int) -> None:
        for name in (f"card{card}", f"renderD{minor}"):
            (directory / "drm" / name).mkdir(parents=True)
            (self.root / "dev/dri" / name).touch()

    def _put_properties(self, directory: Path, **properties: int) -> None:
        self._put(directory / "properties", "\n".join(f"{name} {value}" for name, value in properties.items()))

    def _put(self, path: Path | str, value: object) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{value}\n")
