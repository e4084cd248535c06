"""What is wrong with a GPU although it can be used."""

from plugins.amd.discovery.facts import Gpu

PARTITIONS = {"spx": 1, "dpx": 2, "tpx": 3, "qpx": 4}
"""The number of partitions in each compute mode. In mode cpx it depends on the card, and is at least two."""


def warning(gpu: Gpu) -> str:
    """Return what is wrong with a GPU; empty if nothing is."""
    mode, count = gpu.card.compute, gpu.partitions
    expected = str(PARTITIONS.get(mode, "")) or ("2 or more" if mode == "cpx" else "")
    if not expected or count == PARTITIONS.get(mode) or (mode == "cpx" and count > 1):
        return ""
    return f"its card is in mode {mode.upper()}, but KFD lists {count} of its partitions, expected {expected}"
