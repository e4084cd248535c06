"""Which GPUs a node has, with their files and facts."""

import re
from pathlib import Path

import pytest

from hub import Allocation, NoDevices
from plugins.amd.discovery.facts import KfdNode
from tests.harness.files import put
from tests.simulators.amdnodes import OAM, apu, mi210, mi300x
from tests.simulators.amdtree import AmdTree
from tests.unit.plugins.amd.amd_node import plugin, result, scan

FIRST, LAST = "0000:05:00.0", "0000:e5:00.0"


def _files(device: object) -> list[str]:
    return [node.host_path for node in Allocation.merge([device]).nodes]  # type: ignore[list-item]


def test_a_card_is_a_device(tmp_path: Path) -> None:
    """Its id is its PCI address; it has its own files and KFD's, and its NUMA node."""
    found = scan(mi300x(tmp_path))
    assert list(found.devices) == [f"0000:{bus}:00.0" for bus in OAM]
    device = found.devices[LAST]
    assert _files(device) == ["/dev/kfd", "/dev/dri/card57", "/dev/dri/renderD184"]
    assert {node.permissions for node in device.nodes} == {"rw"}
    assert (device.numa, device.pci, device.env, device.mounts) == ((1,), [LAST], {}, ())


def test_two_gpus_of_a_container_share_one_file(tmp_path: Path) -> None:
    """The shared file is KFD's, as in ROCm's plugin."""
    devices = list(scan(mi210(tmp_path)).devices.values())[:2]
    assert [node.host_path for node in Allocation.merge(devices).nodes] == [
        *("/dev/kfd", "/dev/dri/card1", "/dev/dri/renderD128", "/dev/dri/card2", "/dev/dri/renderD129"),
    ]


def test_the_facts_are_those_of_the_labels(tmp_path: Path) -> None:
    """They have the values and names of ROCm's node labeller."""
    attributes = scan(mi300x(tmp_path / "x")).devices[FIRST].attributes
    assert attributes == {
        "product-name": "AMD_Instinct_MI300X_OAM",
        "device-id": "74a1",
        "family": "AI",
        "architecture": "gfx942",
        "vram": "192G",
        "simd-count": "1216",
        "cu-count": "304",
        "compute-memory-partition": "spx_nps1",
        "compute-partitioning-supported": "true",
        "memory-partitioning-supported": "true",
        "driver-version": "6.12.12",
        "driver-src-version": "3A6F1B2C4D5E",
        "render node": "renderD128",
    }
    assert scan(mi210(tmp_path / "y")).devices["0000:03:00.0"].attributes["architecture"] == "gfx90a"


@pytest.mark.parametrize(
    ("gfx", "family"),
    [
        *(("gfx900", "AI"), ("gfx90a", "AI"), ("gfx950", "AI"), ("gfx90c", "RV"), ("gfx1010", "NV"), ("gfx1034", "NV")),
        *(("gfx1033", "VGH"), ("gfx1035", "YC"), ("gfx1036", ""), ("gfx1101", "GC_11_0_0"), ("gfx1103", "GC_11_0_1")),
        *(("gfx1151", "GC_11_5_0"), ("gfx1201", "GC_12_0_0"), ("gfx803", ""), ("", "")),
    ],
)
def test_the_family(gfx: str, family: str) -> None:
    """It follows from the architecture, as in the driver; where that is ambiguous, there is none."""
    assert KfdNode(2, 1, 128, (0, 0, 0), gfx).family == family


@pytest.mark.parametrize("separator", ["_", "."])
def test_partitions_in_both_spellings(tmp_path: Path, separator: str) -> None:
    """Each partition is a device, whether the kernel writes amdgpu_xcp_0 or amdgpu_xcp.0."""
    tree = AmdTree(tmp_path, separator=separator)
    tree.add("0000:05:00.0", compute="CPX", memory="NPS4")
    tree.add("0000:26:00.0", compute="CPX", memory="NPS4")
    found = scan(tree)
    assert list(found.devices) == [f"0000:{bus}:00.0-{k}" for bus in ("05", "26") for k in range(8)]
    assert _files(found.devices["0000:26:00.0-3"]) == ["/dev/kfd", "/dev/dri/card12", "/dev/dri/renderD139"]
    assert found.excluded == {}
    assert found.devices["0000:26:00.0-3"].attributes["vram"] == "24G"


@pytest.mark.parametrize(("compute", "count"), [("DPX", 2), ("TPX", 3), ("QPX", 4), ("CPX", 8)])
def test_every_mode(tmp_path: Path, compute: str, count: int) -> None:
    """There are as many devices as partitions; the driver's other device files are unused, as the status says."""
    tree = AmdTree(tmp_path)
    tree.add(FIRST, compute=compute)
    found = scan(tree)
    assert list(found.devices) == [f"{FIRST}-{k}" for k in range(count)]
    assert {device.warning for device in found.devices.values()} == {""}
    assert list(found.excluded) == (["amdgpu_xcp"] if count < 8 else [])


def test_a_card_changes_its_mode_and_back(tmp_path: Path) -> None:
    """The ids of a mode are the same each time, and those of other cards do not change."""
    tree = AmdTree(tmp_path)
    tree.add(FIRST)
    tree.add(LAST)
    plug = plugin(tree, resource_naming_strategy="mixed")
    whole = result(plug).devices
    tree.partition(FIRST, "CPX", "NPS4")
    parts = result(plug).devices
    assert list(parts) == [*(f"{FIRST}-{k}" for k in range(8)), LAST]
    assert parts[LAST] == whole[LAST]
    tree.partition(FIRST, "SPX", "NPS1")
    assert result(plug).devices == whole


def test_a_partition_without_device_files_keeps_the_ids_of_the_others(tmp_path: Path) -> None:
    """It is excluded, with the reason."""
    tree = AmdTree(tmp_path)
    tree.add(FIRST, compute="CPX")
    for path in (tmp_path / "sys/devices/platform/amdgpu_xcp.2/drm").iterdir():
        path.rmdir()
    found = scan(tree)
    assert list(found.devices) == [f"{FIRST}-{k}" for k in (0, 1, 2, 4, 5, 6, 7)]
    assert "KFD lists it with renderD131, which does not exist" in found.excluded[f"{FIRST}-3"]


@pytest.mark.parametrize("separator", ["_", "."])
def test_a_partition_that_kfd_hides_keeps_the_ids_of_the_others(tmp_path: Path, separator: str) -> None:
    """Ids contain the numbers that KFD gives partitions, wherever a kernel writes them."""
    tree = AmdTree(tmp_path, separator=separator)
    tree.add(FIRST, compute="CPX")
    tree.hide(FIRST, 2)
    assert list(scan(tree).devices) == [f"{FIRST}-{k}" for k in (0, 1, 3, 4, 5, 6, 7)]


def test_partitions_without_numbers(tmp_path: Path) -> None:
    """If KFD gives them none, ids follow their order on the card."""
    tree = AmdTree(tmp_path)
    tree.add(FIRST, compute="DPX")
    for partition in range(2):
        properties = tree.node(FIRST, partition) / "properties"
        properties.write_text(re.sub("location_id .*", "location_id 1280", properties.read_text()))
    assert list(scan(tree).devices) == [f"{FIRST}-0", f"{FIRST}-1"]


def test_too_few_partitions(tmp_path: Path) -> None:
    """They are served, with a warning."""
    tree = AmdTree(tmp_path)
    tree.add(FIRST, compute="DPX")
    tree.hide(FIRST, 1)
    device = scan(tree).devices[f"{FIRST}-0"]
    assert device.warning == "its card is in mode DPX, but KFD lists 1 of its partitions, expected 2"


def test_an_integrated_gpu(tmp_path: Path) -> None:
    """It is served, without a NUMA node or a name; the settings can exclude it by its memory."""
    tree = apu(tmp_path)
    (device,) = scan(tree).devices.values()
    assert (device.id, device.resource, device.numa) == ("0000:c1:00.0", "amd.com/gpu", ())
    assert "product-name" not in device.attributes
    found = scan(tree, exclude=[{"max_vram": 4}])
    assert found.devices == {}
    assert found.excluded == {"0000:c1:00.0": "excluded by exclude[0] in the settings"}


def test_hardware_with_and_without_a_driver(tmp_path: Path) -> None:
    """The plugin is suggested for AMD's GPUs and accelerators, and not for their other functions."""
    tree = AmdTree(tmp_path)
    assert list(plugin(tree).hardware()) == []
    tree.add(FIRST)
    tree.add(LAST, compute="", memory="")
    for pci, number in (("0000:e5:00.1", "0x040300"), ("0000:e6:00.0", "0x038000")):
        put(tmp_path / f"sys/bus/pci/devices/{pci}/vendor", b"0x1002\n")
        put(tmp_path / f"sys/bus/pci/devices/{pci}/class", number.encode())
    found = [text.partition(" (")[0] for text in plugin(tree).hardware()]
    assert found == [f"AMD GPU {pci}" for pci in (FIRST, LAST, "0000:e6:00.0")]


def test_virtual_functions_on_one_device(tmp_path: Path) -> None:
    """Functions of one PCI device with one serial number are GPUs of their own, not partitions of each other."""
    tree = AmdTree(tmp_path)
    tree.add("0000:05:02.0", compute="", memory="")
    tree.add("0000:05:02.1", compute="", memory="").serial = tree.cards["0000:05:02.0"].serial
    tree.hide("0000:05:02.0")
    assert list(scan(tree).devices) == ["0000:05:02.0", "0000:05:02.1"]


def test_no_driver(tmp_path: Path) -> None:
    """A node without AMD GPUs is not a fault."""
    with pytest.raises(NoDevices, match="the amdgpu driver is not loaded") as raised:
        scan(_Empty(tmp_path))  # type: ignore[arg-type]
    assert not raised.value.fault


class _Empty:
    """A node without anything."""

    def __init__(self, root: Path) -> None:
        self.root = root


def test_a_driver_without_gpus(tmp_path: Path) -> None:
    """It is not a fault, either."""
    with pytest.raises(NoDevices, match="has no GPU") as raised:
        scan(AmdTree(tmp_path))
    assert not raised.value.fault


def test_no_kfd(tmp_path: Path) -> None:
    """GPUs without KFD are a fault: ROCm cannot use them."""
    tree = mi210(tmp_path)
    tree.remove_kfd()
    with pytest.raises(NoDevices, match="without KFD") as raised:
        scan(tree)
    assert raised.value.fault


def test_a_gpu_that_kfd_does_not_know(tmp_path: Path) -> None:
    """It is excluded, and the others are served; if it is the only one, that is a fault."""
    tree = AmdTree(tmp_path)
    tree.add(FIRST, compute="")
    tree.add(LAST, compute="")
    tree.hide(FIRST, 0)
    found = scan(tree)
    assert list(found.devices) == [LAST]
    assert found.excluded[FIRST].startswith("KFD lists no GPU with its render node, renderD128")
    tree.remove(LAST)
    with pytest.raises(NoDevices, match=f"none of the GPUs can be used: {FIRST}: KFD lists no GPU") as raised:
        scan(tree)
    assert raised.value.fault


def test_kfd_hides_a_gpu_from_a_container(tmp_path: Path) -> None:
    """The reason names the node that cannot be read, and why KFD hides it."""
    tree = AmdTree(tmp_path)
    tree.add(FIRST, compute="")
    properties = tree.node(FIRST) / "properties"
    properties.unlink()
    properties.mkdir()
    with pytest.raises(NoDevices, match=r"nodes 2 of KFD is a directory.*only to processes that may open its device"):
        scan(tree)
