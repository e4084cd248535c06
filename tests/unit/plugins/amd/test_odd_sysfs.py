"""What the kernel shows may be anything: it affects the GPU concerned, and no other."""

from pathlib import Path

import msgspec
import pytest

from tests.harness.files import put
from tests.simulators.amdtree import AmdTree
from tests.unit.plugins.amd.amd_node import scan

ODD, GOOD = "0000:05:00.0", "0000:26:00.0"

CARD = "sys/devices/pci0000:00/0000:05:00.0"
NODE = "sys/class/kfd/kfd/topology/nodes/2"

HARMLESS: dict[str, tuple[str, bytes | str | None]] = {
    "a NUMA node that is a word": (f"{CARD}/numa_node", b"one"),
    "a NUMA node with digits that are not ASCII": (f"{CARD}/numa_node", "\u00b2".encode()),
    "a NUMA node with many digits": (f"{CARD}/numa_node", b"9" * 5000),
    "a product name that is not UTF-8": (f"{CARD}/product_name", b"\xff\xfe"),
    "a product name that is a pipe": (f"{CARD}/product_name", None),
    "an endless device id": (f"{CARD}/device", "/dev/zero"),
    "a connector next to the device files": (f"{CARD}/drm/card1-DP-1/status", b"connected"),
    "memory that is not readable": (f"{NODE}/mem_banks/0/properties", None),
    "a memory size with many digits": (f"{NODE}/mem_banks/0/properties", b"size_in_bytes " + b"9" * 5000),
    "a KFD number that is a word": (f"{NODE}/gpu_id", b"none"),
    "a link to no node": (f"{NODE}/io_links/1/properties", b"type 11\nnode_to 999999\n"),
    "a link of an unknown type": (f"{NODE}/io_links/1/properties", b"type 99\nnode_to 3\n"),
    "a link with endless properties": (f"{NODE}/p2p_links/1/properties", "/dev/zero"),
    "a node that is not a number": ("sys/class/kfd/kfd/topology/nodes/x/properties", b"drm_render_minor 128"),
    "a processor that is not readable": ("sys/class/kfd/kfd/topology/nodes/0/properties", None),
    "a partition with an odd name": ("sys/devices/platform/amdgpu_xcp.x/drm/renderD1/dev", b"226:1"),
    "a partition without device files": ("sys/devices/platform/amdgpu_xcp.77/driver/x", b""),
    "a card with an odd name": ("sys/module/amdgpu/drivers/pci:amdgpu/0000:05:00/numa_node", b"0"),
    "a driver without a version": ("sys/module/amdgpu/version", None),
}


@pytest.fixture
def tree(tmp_path: Path) -> AmdTree:
    """Create a node with two cards, one of which a test changes."""
    tree = AmdTree(tmp_path)
    tree.add(ODD)
    tree.add(GOOD)
    return tree


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_an_odd_detail_is_left_out(tree: AmdTree, change: tuple[str, bytes | str | None]) -> None:
    """Both GPUs are advertised."""
    file, content = change
    put(tree.root / file, content)
    found = scan(tree)
    assert list(found.devices) == [ODD, GOOD]
    msgspec.json.encode(list(found.devices.values()))


HARMFUL: dict[str, tuple[str, bytes | str | None, str]] = {
    "an invalid mode": (f"{CARD}/current_compute_partition", b"1 2", "is '1 2', expected a mode such as SPX"),
    "an empty mode": (f"{CARD}/current_memory_partition", b"\n", "current_memory_partition is '', expected a mode"),
    "an unreadable mode": (f"{CARD}/current_compute_partition", None, "current_compute_partition not a regular file"),
    "an unreadable node": (f"{NODE}/properties", None, "KFD lists no GPU with its render node, renderD128"),
    "a render node with many digits": (
        f"{NODE}/properties",
        b"drm_render_minor " + b"1" * 5000,
        "KFD lists no GPU with",
    ),
    "the render node of another": (f"{NODE}/properties", b"drm_render_minor 136", "KFD lists no GPU with"),
    "no render node": (f"{NODE}/properties", b"simd_count 4", "KFD lists no GPU with its render node"),
}


@pytest.mark.parametrize("change", HARMFUL.values(), ids=HARMFUL)
def test_an_odd_gpu_is_excluded(tree: AmdTree, change: tuple[str, bytes | str | None, str]) -> None:
    """The odd GPU has a reason, and the other GPU is advertised, unless KFD does not distinguish the two."""
    file, content, reason = change
    put(tree.root / file, content)
    if content == b"drm_render_minor 136":
        tree.add("0000:46:00.0")
        put(tree.root / file, content)
    found = scan(tree)
    assert GOOD in found.devices or "several GPUs with its render node" in found.excluded[GOOD]
    assert found.devices.keys().isdisjoint({ODD})
    assert reason in found.excluded[ODD]
