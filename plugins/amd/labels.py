"""Node labels, with the names and values of AMD's node labeller, and the same facts about each GPU."""

from collections import Counter
from collections.abc import Sequence

from plugins.amd.discovery.facts import DriverFacts, Gpu

_STABLE, _BETA = "amd.com/gpu", "beta.amd.com/gpu"

_COUNTED = ("family", "device-id", "product-name", "vram", "simd-count", "cu-count")
"""Facts that may differ between the GPUs of a node; their labels then count the GPUs with each value."""


def facts(gpu: Gpu, driver: DriverFacts) -> dict[str, str]:
    """Describe a GPU by the facts that AMD's node labeller publishes as labels, under the names of those labels."""
    card, node = gpu.card, gpu.node
    known = {
        "product-name": card.product,
        "device-id": card.device_id,
        "family": node.family,
        "architecture": node.gfx,
        "vram": f"{node.vram / 2**30:.0f}G" if node.vram else "",
        "simd-count": str(node.simds or ""),
        "cu-count": str(node.simds // node.simds_per_cu) if node.simds_per_cu else "",
        "compute-memory-partition": card.mode,
        "compute-partitioning-supported": str(card.can_set_compute).lower(),
        "memory-partitioning-supported": str(card.can_set_memory).lower(),
        "driver-version": driver.version,
        "driver-src-version": driver.source_version,
    }
    return {name: value for name, value in known.items() if value}


def node_labels(gpus: Sequence[Gpu], driver: DriverFacts) -> dict[str, str]:
    """Return the node labels for these GPUs; none if there is no GPU."""
    described = [facts(gpu, driver) for gpu in gpus]
    found: dict[str, str] = {}
    for kind in _COUNTED:
        found |= _counted(kind, Counter(each[kind] for each in described if kind in each))
    for kind in ("driver-version", "driver-src-version"):
        found |= {f"{_STABLE}.{kind}": each[kind] for each in described[:1] if kind in each}
    for kind in ("compute-partitioning-supported", "memory-partitioning-supported"):
        found |= {f"{_STABLE}.{kind}": each[kind] for each in described[:1]}
    modes = {gpu.card.mode for gpu in gpus if gpu.card.mode}
    if len(modes) == 1:
        found[f"{_STABLE}.compute-memory-partition"] = modes.pop()
    return found


def _counted(kind: str, counts: Counter[str]) -> dict[str, str]:
    """Return the labels of one kind of fact: its value, or the number of GPUs with each value."""
    numbers = {f"{kind}.{value}": str(count) for value, count in counts.items()}
    single = {kind: next(iter(counts))} if len(counts) == 1 else {}
    return _prefixed(_BETA, numbers | single) | _prefixed(_STABLE, single or numbers)


def _prefixed(prefix: str, labels: dict[str, str]) -> dict[str, str]:
    return {f"{prefix}.{name}": value for name, value in labels.items()}
