"""What containers get: shares, links, variables, and the resources for monitoring."""

from pathlib import Path

import pytest

from hub import Allocation, Device
from tests.simulators.inteltree import IntelTree, battlemage, four_vfs, integrated, two_flex
from tests.unit.plugins.intel.test_gpus import CARD, FIRST, INTEGRATED, SECOND, plugin_of, scan

BY_PATH = "/dev/dri/by-path"


def _given(devices: list[Device]) -> Allocation:
    return Allocation.merge(devices)


def _paths(device: Device) -> list[str]:
    return [str(node.host_path) for node in device.nodes]


def test_shares_of_a_gpu(tmp_path: Path) -> None:
    """Each has a number, and the files of its GPU; a container with two of them gets the files once."""
    devices, _ = scan(two_flex(tmp_path), shared_dev_num=13)
    assert len(devices) == 26
    assert [device.id for device in devices[:2]] == [f"{FIRST}::0", f"{FIRST}::1"]
    assert {device.physical for device in devices} == {FIRST, SECOND}
    assert devices[0].attributes["shared"] == "13 shares"
    both = _given(devices[:2])
    assert [node.host_path for node in both.nodes] == ["/dev/dri/card0", "/dev/dri/renderD128"]
    assert len(both.mounts) == 2


def test_several_gpus(tmp_path: Path) -> None:
    """A container gets the files and links of each of its GPUs."""
    devices, _ = scan(two_flex(tmp_path))
    given = _given(devices)
    assert [node.host_path for node in given.nodes] == [
        f"/dev/dri/{name}" for name in ("card0", "renderD128", "card1", "renderD129")
    ]
    assert {mount.host_path for mount in given.mounts} == {
        f"{BY_PATH}/pci-{pci}-{kind}" for pci in (FIRST, SECOND) for kind in ("card", "render")
    }


@pytest.mark.parametrize(
    ("bypath", "mounts"),
    [
        ("single", [f"{BY_PATH}/pci-{FIRST}-card", f"{BY_PATH}/pci-{FIRST}-render"]),
        ("none", []),
        ("all", [BY_PATH]),
    ],
)
def test_links(tmp_path: Path, bypath: str, mounts: list[str]) -> None:
    """As with the `-bypath` flag, a container gets read-only mounts of a GPU's own links, none, or the directory."""
    devices, _ = scan(two_flex(tmp_path), bypath=bypath)
    assert [mount.host_path for mount in devices[0].mounts] == mounts
    assert all(mount.read_only and mount.container_path == mount.host_path for mount in devices[0].mounts)


def test_the_link_of_the_firmwares_framebuffer(tmp_path: Path) -> None:
    """It leads nowhere, and a container with it would not start, so only the links to the GPU's files are mounted."""
    tree = integrated(tmp_path)
    tree.leave_framebuffer(INTEGRATED)
    (gpu,), _ = scan(tree)
    assert [mount.host_path for mount in gpu.mounts] == tree.links(INTEGRATED)


def test_a_link_to_a_file_of_another_gpu(tmp_path: Path) -> None:
    """It is not given to a container, whatever its name is."""
    tree = two_flex(tmp_path)
    link = tree.root / BY_PATH[1:] / f"pci-{FIRST}-card"
    link.unlink()
    link.symlink_to("../card1")
    devices, _ = scan(tree)
    assert [mount.host_path for mount in devices[0].mounts] == [f"{BY_PATH}/pci-{FIRST}-render"]


@pytest.mark.parametrize(("bypath", "noted"), [("single", True), ("none", False), ("all", True)])
def test_a_node_without_links(tmp_path: Path, bypath: str, *, noted: bool) -> None:
    """A container starts without them, and a note says so."""
    tree = integrated(tmp_path)
    (tree.root / "dev/dri/by-path").rename(tree.root / "dev/elsewhere")
    plugin = plugin_of(tree, bypath=bypath)
    (gpu,) = [each for each in plugin.devices() if isinstance(each, Device)]
    assert not gpu.mounts
    assert bool(plugin.notes) is noted
    assert all("/dev/dri/by-path does not exist" in note for note in plugin.notes)


def test_the_variable_with_render_nodes(tmp_path: Path) -> None:
    """The settings name it: a program that would open renderD128 can take the path from it."""
    devices, _ = scan(two_flex(tmp_path), render_env="RENDER_NODES", shared_dev_num=2)
    assert devices[2].env == {"RENDER_NODES": "/dev/dri/renderD129"}
    assert _given(devices).env == {"RENDER_NODES": "/dev/dri/renderD128,/dev/dri/renderD129"}


def test_monitoring(tmp_path: Path) -> None:
    """It is one device, with the files of all GPUs and of their management engines, whatever their drivers are."""
    devices, _ = scan(battlemage(tmp_path), enable_monitoring=True, shared_dev_num=2)
    monitor = devices[-1]
    assert [device.id for device in devices].count("all") == 1
    assert (monitor.id, monitor.resource, list(monitor.mounts)) == ("all", "gpu.intel.com/monitoring", [])
    assert _paths(monitor) == [
        *("/dev/dri/card0", "/dev/dri/renderD128", "/dev/dri/card1", "/dev/dri/renderD129", "/dev/mei0")
    ]
    assert list(monitor.pci) == [INTEGRATED, CARD]


def test_monitoring_by_driver(tmp_path: Path) -> None:
    """With monitoring-mode split, each driver has a resource."""
    devices, _ = scan(battlemage(tmp_path), enable_monitoring=True, monitoring_mode="split")
    assert {device.resource: _paths(device) for device in devices if device.id == "all"} == {
        "gpu.intel.com/i915_monitoring": ["/dev/dri/card0", "/dev/dri/renderD128"],
        "gpu.intel.com/xe_monitoring": ["/dev/dri/card1", "/dev/dri/renderD129", "/dev/mei0"],
    }


def test_monitoring_leaves_a_divided_gpu_out(tmp_path: Path) -> None:
    """As in Intel's plugin, it covers only GPUs that are served."""
    devices, _ = scan(four_vfs(tmp_path), enable_monitoring=True)
    assert FIRST not in devices[-1].pci
    assert len(devices[-1].pci) == 5


@pytest.mark.parametrize(
    ("settings", "resources"),
    [
        ({}, ["i915", "xe"]),
        ({"enable_monitoring": True}, ["i915", "xe", "monitoring"]),
        ({"enable_monitoring": True, "monitoring_mode": "split"}, ["i915", "xe", "i915_monitoring", "xe_monitoring"]),
    ],
)
def test_resources_without_a_gpu(tmp_path: Path, settings: dict[str, object], resources: list[str]) -> None:
    """They follow from the settings alone, so a node that has lost its GPUs keeps none of their resources."""
    plugin = plugin_of(IntelTree(tmp_path), **settings)
    assert list(plugin.resources()) == [f"gpu.intel.com/{name}" for name in resources]
