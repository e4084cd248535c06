"""Find the GPUs on a node: cards on the PCI bus and their partitions.

A GPU consists of a KFD node and device files in /dev/dri. The number of the render node links the two: in KFD, it is a
property of the node; in sysfs, the device files are listed below the card's PCI device for the first partition, and
below a platform device for each further partition. On cards with partitions, the driver creates eight sets of device
files in every mode, so the sets that KFD does not list are unused.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from hub import PCI_ADDRESS, Host, MissingError, PciFunction, UnreadableError, read_attribute, read_text
from plugins.amd.discovery.facts import Card, DriverFacts, Gpu, KfdNode
from plugins.amd.discovery.files import DIGITS, entries
from plugins.amd.discovery.kfd import Topology, generation, read_topology

MODULE = "/sys/module/amdgpu"
"""Exists while the driver is loaded."""

CARDS = f"{MODULE}/drivers/pci:amdgpu"

COMPUTE, MEMORY = "current_compute_partition", "current_memory_partition"
"""Attributes of a card; cards that cannot be partitioned do not have them."""

_PLATFORM = "/sys/devices/platform"
_PARTITION = rf"amdgpu_xcp[._]{DIGITS}"
"""The platform device of a partition; newer kernels write a dot."""

_MODE = "[A-Za-z]{1,8}[0-9]{0,3}"
_NAME = 100
"""Maximum number of characters of a product name that are shown; no known name is that long."""


class GpusFound(NamedTuple):
    """The GPUs of a node."""

    gpus: Sequence[Gpu]
    """Sorted by PCI address and partition."""
    excluded: Mapping[str, str]
    """Why other GPUs cannot be used, by name."""


class _DeviceFiles(NamedTuple):
    """Device files in /dev/dri."""

    source: str
    """The name of the device in sysfs that lists them."""
    names: tuple[str, ...]


class _Slots:
    """Device files by the number of their render node, and cards by that of their first partition."""

    def __init__(self, host: Host) -> None:
        self.files: dict[int, _DeviceFiles] = {}
        self.cards: dict[int, Card] = {}
        self.excluded: dict[str, str] = {}
        for directory in entries(host.path(CARDS), PCI_ADDRESS.pattern):
            self._add_card(directory)
        for directory in entries(host.path(_PLATFORM), _PARTITION):
            self._add_files(directory)

    def _add_card(self, directory: Path) -> None:
        minor = self._add_files(directory)
        try:
            card = _read_card(directory)
        except ValueError as error:
            self.excluded[directory.name] = str(error)
            return
        if minor is None:
            self.excluded[directory.name] = f"the driver provides no render node for it ({CARDS}/{directory.name}/drm)"
        else:
            self.cards[minor] = card

    def _add_files(self, directory: Path) -> int | None:
        names = tuple(path.name for path in entries(directory / "drm", rf"(card|renderD){DIGITS}"))
        minor = next((int(name.removeprefix("renderD")) for name in names if name.startswith("renderD")), None)
        if minor is not None:
            self.files[minor] = _DeviceFiles(directory.name, names)
        return minor


def read_gpus(host: Host) -> GpusFound:
    """Read all GPUs."""
    slots = _Slots(host)
    topology = read_topology(host)
    shared = {minor for minor, count in Counter(node.render_minor for node in topology.nodes).items() if count > 1}
    own = {node.render_minor: node for node in topology.nodes if node.render_minor not in shared}
    keys = Counter(own[minor].card for minor in slots.cards if minor in own)
    excluded = dict(slots.excluded)
    gpus: list[Gpu] = []
    for minor, card in slots.cards.items():
        if minor not in own:
            excluded[card.pci] = _without_node(minor, minor in shared, topology)
            continue
        # Virtual functions of one card may all have the same key, but each is a separate GPU.
        key = own[minor].card
        nodes = [node for node in own.values() if node.card == key] if keys[key] == 1 else [own[minor]]
        gpus += _gpus_of(card, sorted(nodes, key=lambda node: node.render_minor), slots, excluded)
    excluded |= _unknown(topology, slots, {gpu.node.number for gpu in gpus}, set(keys))
    return GpusFound(sorted(gpus, key=lambda gpu: (gpu.card.pci, gpu.partition or 0)), excluded)


def read_driver(host: Host) -> DriverFacts:
    """Read the versions of the driver."""
    return DriverFacts(
        read_attribute(host.path(f"{MODULE}/version")), read_attribute(host.path(f"{MODULE}/srcversion"))
    )


def signature(host: Host) -> object:
    """Return a value that changes when GPUs are added, removed or partitioned; sysfs gives no notification of that."""
    cards = tuple(
        (path.name, read_attribute(path / COMPUTE), read_attribute(path / MEMORY))
        for path in entries(host.path(CARDS), PCI_ADDRESS.pattern)
    )
    return generation(host), cards, tuple(path.name for path in entries(host.path(_PLATFORM), _PARTITION))


def _gpus_of(card: Card, nodes: Sequence[KfdNode], slots: _Slots, excluded: dict[str, str]) -> Iterator[Gpu]:
    """Yield the GPUs of a card. If KFD does not number its partitions, they are numbered in order."""
    partitioned = len(nodes) > 1 or card.compute not in {"", "spx"}
    is_numbered = len({node.partition for node in nodes}) == len(nodes)
    for position, node in enumerate(nodes):
        number = node.partition if is_numbered else position
        gpu = Gpu(card, node, (), number if partitioned else None, len(nodes))
        if files := slots.files.get(node.render_minor):
            yield msgspec.structs.replace(gpu, files=files.names, source=files.source)
        else:
            where = f"{_PLATFORM}/amdgpu_xcp*/drm"
            excluded[gpu.id] = f"KFD lists it with renderD{node.render_minor}, which does not exist in {where}"


def _without_node(minor: int, shared: bool, topology: Topology) -> str:  # noqa: FBT001 - called once
    if shared:
        return f"KFD lists several GPUs with its render node, renderD{minor}"
    why = f"KFD lists no GPU with its render node, renderD{minor}, so ROCm cannot use it"
    if not topology.hidden:
        return why
    numbers, reasons = ", ".join(map(str, topology.hidden)), "; ".join(dict.fromkeys(topology.hidden.values()))
    return f"{why}; nodes {numbers} of KFD {reasons}: KFD shows a GPU only to processes that may open its device files"


def _unknown(topology: Topology, slots: _Slots, used: set[int], keys: set[object]) -> Iterator[tuple[str, str]]:
    """Yield the KFD nodes that belong to no GPU, and the device files that are not in use."""
    for node in topology.nodes:
        if node.number not in used and node.card not in keys and node.render_minor not in slots.cards:
            where = f"renderD{node.render_minor}"
            yield f"KFD node {node.number}", f"no GPU of the driver has its address and its render node, {where}"
    known = {node.render_minor for node in topology.nodes}
    unused = [
        files.source
        for minor, files in slots.files.items()
        if minor not in known and re.fullmatch(_PARTITION, files.source)
    ]
    if unused:
        which = unused[0] if len(unused) == 1 else f"{len(unused)}, from {unused[0]} to {unused[-1]},"
        yield (
            "amdgpu_xcp",
            f"devices for partitions that do not exist in the cards' current modes: {which} not listed by KFD",
        )


def _read_card(directory: Path) -> Card:
    function = PciFunction(directory)
    return Card(
        function.address,
        function.numa,
        _mode(directory / COMPUTE),
        _mode(directory / MEMORY),
        (directory / "available_compute_partition").exists(),
        (directory / "available_memory_partition").exists(),
        function.device,
        read_attribute(directory / "product_name")[:_NAME].replace(" ", "_").replace("(", "").replace(")", ""),
    )


def _mode(path: Path) -> str:
    """Read a partition mode; empty if the card cannot be partitioned.

    Raises:
        ValueError: the card can be partitioned, but its mode is unknown.
    """
    try:
        text = read_text(path, errors="replace").strip()
    except MissingError:
        return ""
    except UnreadableError as error:
        raise ValueError(f"its {path.name} {error.problem}") from None
    if not re.fullmatch(_MODE, text):
        raise ValueError(f"its {path.name} is {text!r:.40}, expected a mode such as SPX or NPS1")
    return text.lower()
