"""Which GPUs are served, and why others are not."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hub import Device, Host, NoDevices
from plugins.intel import Intel
from plugins.intel.settings import IntelSettings
from tests.harness.files import put
from tests.simulators.inteltree import (
    BATTLEMAGE,
    FLEX_170,
    XE,
    IntelTree,
    battlemage,
    eight_max,
    four_vfs,
    integrated,
    two_flex,
)
from tests.unit.plugins.intel.intel_scan import plugin_of, scan

FIRST, SECOND = "0000:4d:00.0", "0000:b7:00.0"


INTEGRATED, CARD = "0000:00:02.0", "0000:03:00.0"


def _resources(devices: list[Device]) -> dict[str, str]:
    return {device.id: device.resource for device in devices}


def test_an_integrated_gpu(tmp_path: Path) -> None:
    """It has a card and a render node, and their links; its NUMA node is unknown."""
    (gpu,), excluded = scan(integrated(tmp_path))
    assert not excluded
    assert (gpu.id, gpu.resource, list(gpu.numa)) == (INTEGRATED, "gpu.intel.com/i915", [])
    assert [(node.host_path, node.container_path, node.permissions) for node in gpu.nodes] == [
        ("/dev/dri/card0", "/dev/dri/card0", "rw"),
        ("/dev/dri/renderD128", "/dev/dri/renderD128", "rw"),
    ]
    assert [(mount.host_path, mount.container_path, mount.read_only) for mount in gpu.mounts] == [
        (link, link, True)
        for link in (f"/dev/dri/by-path/pci-{INTEGRATED}-card", f"/dev/dri/by-path/pci-{INTEGRATED}-render")
    ]
    assert (gpu.env, gpu.physical, list(gpu.pci)) == ({}, "", [INTEGRATED])
    assert gpu.attributes == {"device id": "0x9a49", "driver": "i915"}


def test_data_center_gpus(tmp_path: Path) -> None:
    """They are sorted by address, on their NUMA nodes, whatever other controllers the node has."""
    devices, excluded = scan(eight_max(tmp_path))
    assert not excluded
    assert [list(device.numa) for device in devices] == [[0]] * 4 + [[1]] * 4
    assert [device.nodes[0].host_path for device in devices] == [f"/dev/dri/card{number}" for number in range(1, 9)]
    assert {device.attributes["model"] for device in devices} == {"Max 1550"}


def test_the_order_of_addresses(tmp_path: Path) -> None:
    """They are sorted as hexadecimal numbers: 18 precedes 3b."""
    tree = IntelTree(tmp_path)
    for bus in ("b7", "3b", "18"):
        tree.add(f"0000:{bus}:00.0")
    devices, _ = scan(tree)
    assert [device.id[5:7] for device in devices] == ["18", "3b", "b7"]


def test_each_driver_has_its_resource(tmp_path: Path) -> None:
    """As in Intel's plugin, these are i915 and xe."""
    devices, _ = scan(battlemage(tmp_path))
    assert _resources(devices) == {INTEGRATED: "gpu.intel.com/i915", CARD: "gpu.intel.com/xe"}


def test_virtual_functions_are_served_instead_of_their_gpu(tmp_path: Path) -> None:
    """The GPU itself is listed with the reason."""
    devices, excluded = scan(four_vfs(tmp_path))
    assert [device.id for device in devices] == [*(f"0000:4d:00.{number}" for number in range(1, 5)), SECOND]
    assert excluded == {FIRST: "it is split into 4 virtual functions: those are served instead"}
    assert devices[0].attributes["virtual function of"] == FIRST


def test_ids_stay_when_numbers_change(tmp_path: Path) -> None:
    """Cards are numbered in the order in which drivers find them; ids are addresses."""
    tree = battlemage(tmp_path)
    before, _ = scan(tree)
    for pci in tree.gpus:
        tree.unbind(pci)
    tree.bind(CARD, XE)
    tree.bind(INTEGRATED)
    after, _ = scan(tree)
    assert _resources(before) == _resources(after)
    assert [device.nodes[0].host_path for device in after] == ["/dev/dri/card1", "/dev/dri/card0"]


def unbound(tree: IntelTree) -> None:
    """Unbind the GPU from its driver."""
    tree.unbind(FIRST)


def for_machines(tree: IntelTree) -> None:
    """Reserve the GPU for virtual machines."""
    tree.unbind(FIRST)
    tree.bind(FIRST, "vfio-pci")


def without_files(tree: IntelTree) -> None:
    """Remove the files from /dev."""
    for name in ("card0", "renderD128"):
        (tree.root / "dev/dri" / name).unlink()


def surviving(tree: IntelTree) -> None:
    """Make the driver wait for firmware."""
    tree.unbind(FIRST)
    tree.bind(FIRST, XE)
    without_drm(tree)
    put(tree.path(FIRST, "survivability_mode"), b"Boot\n")


def without_drm(tree: IntelTree) -> None:
    """Make the driver provide no files."""
    tree.path(FIRST, "drm").rename(tree.path(FIRST, "gone"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (unbound, "no driver is bound to it, expected i915 or xe"),
        (for_machines, "it is bound to vfio-pci, so only virtual machines can use it"),
        (without_files, "its files do not exist in /dev/dri: card0, renderD128"),
        (surviving, "xe found a fault, and only allows its firmware to be repaired (survivability mode)"),
        (without_drm, "its driver i915 provides no files in /dev/dri"),
    ],
)
def test_a_gpu_that_cannot_be_used(tmp_path: Path, change: Callable[[IntelTree], None], reason: str) -> None:
    """It is listed with the reason; the other one is served."""
    tree = two_flex(tmp_path)
    change(tree)
    devices, excluded = scan(tree)
    assert [device.id for device in devices] == [SECOND]
    assert excluded == {FIRST: reason}


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    """A container gets the files that exist, as in Intel's plugin."""
    tree = two_flex(tmp_path)
    (tree.root / "dev/dri/card0").unlink()
    devices, _ = scan(tree)
    assert [node.host_path for node in devices[0].nodes] == ["/dev/dri/renderD128"]


@pytest.mark.parametrize(
    ("settings", "served", "reasons"),
    [
        ({"allow_ids": FLEX_170}, [], {INTEGRATED: "0x9a49", CARD: "0xe20b"}),
        ({"allow_ids": f"{BATTLEMAGE},{FLEX_170}"}, [CARD], {INTEGRATED: "0x9a49"}),
        ({"allow_ids": [BATTLEMAGE.upper().replace("X", "x")]}, [CARD], {INTEGRATED: "0x9a49"}),
        ({"deny_ids": "0x9a49, 0x1234"}, [CARD], {INTEGRATED: "0x9a49"}),
        ({"exclude": [INTEGRATED]}, [CARD], {INTEGRATED: "the exclude setting"}),
    ],
)
def test_selected_gpus(tmp_path: Path, settings: dict[str, object], served: list[str], reasons: dict[str, str]) -> None:
    """They are selected by device id or by address, and the others are excluded with a reason.

    Monitoring, too, covers only the selected ones.
    """
    devices, excluded = scan(battlemage(tmp_path), enable_monitoring=True, **settings)
    assert [device.id for device in devices] == [*served, *(["all"] if served else [])]
    assert excluded.keys() == reasons.keys()
    assert all(reasons[pci] in reason for pci, reason in excluded.items())


def test_the_hardware_for_which_it_is_suggested(tmp_path: Path) -> None:
    """It is suggested for all Intel GPUs, even one without a driver, but not for others."""
    tree = battlemage(tmp_path)
    tree.unbind(CARD)
    tree.add("0000:04:00.0", vendor="0x1a03", driver="")
    assert list(plugin_of(tree).hardware()) == [
        "Intel GPU 0000:00:02.0 (8086:9a49)",
        "Intel GPU 0000:03:00.0 (8086:e20b)",
    ]


def test_a_node_without_intel_gpus(tmp_path: Path) -> None:
    """It is not a fault, and neither is a node without any PCI device."""
    with pytest.raises(NoDevices, match="there is no Intel GPU") as raised:
        scan(IntelTree(tmp_path))
    assert not raised.value.fault
    with pytest.raises(NoDevices):
        list(Intel(IntelSettings(), Host(tmp_path / "empty")).devices())


ODD: dict[str, tuple[str, bytes | str | None]] = {
    "a word": ("device", b"flex"),
    "too many digits": ("device", b"0x56c01"),
    "a pipe": ("device", None),
    "a device": ("device", "/dev/zero"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_gpu_with_an_odd_id_is_left_out(tmp_path: Path, name: str) -> None:
    """It is excluded with a reason; the other one is served."""
    tree = two_flex(tmp_path)
    put(tree.path(FIRST, ODD[name][0]), ODD[name][1])
    devices, excluded = scan(tree)
    assert [device.id for device in devices] == [SECOND]
    assert excluded == {FIRST: "the kernel does not report its device id"}


UNKNOWN: dict[str, tuple[str, bytes | str]] = {
    "a count with non-ASCII digits": ("sriov_numvfs", "²".encode()),
    "a count with many digits": ("sriov_numvfs", b"9" * 5000),
    "a node that is a word": ("numa_node", b"both"),
    "a driver with a strange name": ("driver", "../\x1b[2J"),
    "a physical function with a strange name": ("physfn", "../x"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_makes_no_sense_is_not_known(tmp_path: Path, name: str) -> None:
    """The GPU is served as if the kernel did not report that fact."""
    tree = two_flex(tmp_path)
    put(tree.path(FIRST, UNKNOWN[name][0]), UNKNOWN[name][1])
    devices, excluded = scan(tree)
    assert not excluded
    assert [device.nodes[0].host_path for device in devices] == ["/dev/dri/card0", "/dev/dri/card1"]
    assert set(_resources(devices).values()) == {"gpu.intel.com/i915"}
    msgspec.json.decode(msgspec.json.encode(devices))


HARMLESS: dict[str, tuple[str, bytes | str | None]] = {
    "an entry that is not a file of a GPU": ("drm/version", b"drm 1.1.0"),
    "a file of an old kernel": ("drm/controlD64/dev", b"226:64"),
    "a file with a non-ASCII digit": ("drm/card²", b""),
    "an invalid management engine": ("i915.mei-x/mei/y", b""),
    "a temperature that is a word": ("hwmon/hwmon1/temp1_input", b"hot"),
    "a temperature with many digits": ("hwmon/hwmon1/temp1_input", b"9" * 5000),
    "a temperature that is a pipe": ("hwmon/hwmon1/temp1_input", None),
    "a name that is not text": ("hwmon/hwmon1/temp2_label", b"\xff"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_an_odd_detail_is_left_out(tmp_path: Path, name: str) -> None:
    """The GPU is served, with the same files."""
    tree = two_flex(tmp_path)
    settings = {"enable_monitoring": True, "health_management": True}
    before, _ = scan(tree, **settings)
    put(tree.path(FIRST, HARMLESS[name][0]), HARMLESS[name][1])
    after, _ = scan(tree, **settings)
    assert after == before
