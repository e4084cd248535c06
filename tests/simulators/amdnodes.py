"""Nodes with AMD GPUs as sold: servers with MI300X, MI300A and MI210, and a workstation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.simulators.amdtree import GIB, AmdTree


def _whole(device: str, product: str, **facts: int) -> Mapping[str, Any]:
    """Return the facts of a card that cannot be partitioned."""
    return {"device": device, "product": product, "compute": "", "memory": "", **facts}


MODELS: Mapping[str, Mapping[str, Any]] = {
    "MI300X": {},
    "MI300A": {"device": "74a0", "product": "AMD Instinct MI300A", "vram": 128 * GIB, "simds": 912, "xccs": 6},
    "MI308X": {"device": "74a2", "product": "AMD Instinct MI308X", "simds": 320, "xccs": 4},
    "MI210": _whole("740f", "AMD Instinct MI210", gfx=90010, vram=64 * GIB, simds=416),
    "Vega10": _whole("6860", "", gfx=90000, vram=16 * GIB, simds=256, hive=0),
    # The driver does not know the name of this integrated GPU.
    "Phoenix": _whole("15bf", "", gfx=110003, vram=GIB // 2, simds=24, hive=0, numa=-1),
}
"""The facts of cards, as `AmdTree.add` takes them."""

OAM = ("05", "26", "46", "65", "85", "a6", "c6", "e5")
"""The buses of the eight cards of a server, four on each CPU."""


def mi300x(root: Path, *modes: str, separator: str = ".") -> AmdTree:
    """Create a server with eight MI300Xs, in modes such as "CPX_NPS4"; the last mode applies to all further cards."""
    tree = AmdTree(root, separator=separator)
    modes = modes or ("SPX_NPS1",)
    with tree.changing():
        for number, bus in enumerate(OAM):
            compute, memory = modes[min(number, len(modes) - 1)].split("_")
            tree.add(f"0000:{bus}:00.0", numa=number // 4, compute=compute, memory=memory)
    return tree


def mi210(root: Path) -> AmdTree:
    """Create a server with eight MI210s, which cannot be partitioned: bridges link four of them on each CPU."""
    tree = AmdTree(root)
    with tree.changing():
        for number, bus in enumerate(("03", "27", "43", "63", "83", "a3", "c3", "e3")):
            tree.add(f"0000:{bus}:00.0", numa=number // 4, hive=10 + number // 4, **MODELS["MI210"])
    return tree


def apu(root: Path) -> AmdTree:
    """Create a workstation with an integrated GPU."""
    tree = AmdTree(root, processors=1)
    tree.add("0000:c1:00.0", **MODELS["Phoenix"])
    return tree
