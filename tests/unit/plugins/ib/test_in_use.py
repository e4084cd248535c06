"""Functions that a pod uses stay listed, although the node's sysfs hides their interfaces and RDMA devices."""

import itertools
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from hub import Device, Excluded, Host, Runtime
from plugins.ib.plugin import IB
from plugins.ib.settings import IBSettings
from tests.harness.node import random_source
from tests.harness.scanned import scanned
from tests.simulators.rdma.tree import RdmaTree, four_vfs

PF = "0000:07:00.0"
VFS = [f"0000:07:00.{number}" for number in range(1, 5)]

SELECTIONS: dict[str, dict[str, object]] = {
    "linkTypes": {"linkTypes": ["infiniband"]},
    "ifNames": {"ifNames": [f"ib0v{number}" for number in range(4)]},
    "pKeys": {"pKeys": ["0x8001"]},
    "isRdma": {"pfNames": ["ib0"], "isRdma": True},
    "all": {"linkTypes": ["infiniband"], "ifNames": ["ib0v0", "ib0v1", "ib0v2", "ib0v3"], "pKeys": ["0x8001"]},
}


class Plugin:
    """The plugin on a node, which can be restarted.

    Args:
        directory: Contains the node's file system and the run directory.
        selectors: The selectors of the only pool.
    """

    def __init__(self, directory: Path, selectors: dict[str, object]) -> None:
        config = {"configList": [{"resourceName": "vf", "mode": "vf", "selectors": selectors}]}
        self._settings = msgspec.convert(config, IBSettings)
        self._host = Host(directory / "root")
        (directory / "run/node").mkdir(parents=True, mode=0o700)
        self._runtime = Runtime(str(directory / "run"), "hub", "ib")
        self.excluded: dict[str, str] = {}
        self.restart()

    def restart(self) -> None:
        """Start again: only the files of the run directory are left."""
        self._plugin = IB(self._settings, self._host, self._runtime)

    def scan(self) -> dict[str, Device]:
        """Return the devices that the kubelet can allocate."""
        found = scanned(self._plugin)
        self.excluded = {each.id: each.reason for each in found if isinstance(each, Excluded)}
        return {each.id: each for each in found if isinstance(each, Device) and not each.unhealthy}

    def allocate(self, device: Device) -> tuple[list[str], dict[str, str]]:
        """Return the device files and variables of a container."""
        got = self._plugin.allocate([device])
        return [str(node.host_path) for node in got.nodes], dict(got.env)


@pytest.fixture
def tree(tmp_path: Path) -> RdmaTree:
    """Create a node with four virtual functions."""
    return four_vfs(tmp_path / "root")


MODES = ["shared", "exclusive"]
"""The namespace modes of the RDMA subsystem."""


@pytest.mark.parametrize("restarts", [0, 1])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("selectors", SELECTIONS.values(), ids=SELECTIONS)
def test_capacity_stays(tmp_path: Path, tree: RdmaTree, selectors: dict[str, object], mode: str, restarts: int) -> None:
    """Two of four functions are moved to pods: four are listed as healthy, even after a restart of the plugin."""
    if mode == "exclusive":
        tree.set_exclusive()
    plugin = Plugin(tmp_path, selectors)
    before = plugin.scan()
    assert list(before) == VFS
    tree.move_to_pod("mlx5_2")
    tree.move_to_pod("mlx5_4")
    if restarts:
        plugin.restart()
    assert list(plugin.scan()) == VFS
    tree.return_to_node("mlx5_2", netdevs=("ib0v1",))
    tree.return_to_node("mlx5_4", netdevs=("ib0v3",))
    assert plugin.scan() == before


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("selection", "found"), [("linkTypes", 4), ("isRdma", 4), ("ifNames", 0)])
def test_functions_that_were_in_pods_from_the_start(
    tmp_path: Path, tree: RdmaTree, selection: str, found: int, mode: str
) -> None:
    """They have the link type of the physical function. The reason names what only the functions could show."""
    if mode == "exclusive":
        tree.set_exclusive()
    for number in range(1, 5):
        tree.move_to_pod(f"mlx5_{number}")
    plugin = Plugin(tmp_path, SELECTIONS[selection])
    assert list(plugin.scan()) == VFS[:found]
    assert {pci for pci, reason in plugin.excluded.items() if "no pool selects it" in reason} - {PF} == {*VFS[found:]}


def test_a_function_that_is_removed(tmp_path: Path, tree: RdmaTree) -> None:
    """It is forgotten, so a new one at its address is checked independently."""
    tree.set_exclusive()
    plugin = Plugin(tmp_path, SELECTIONS["pKeys"])
    plugin.scan()
    tree.move_to_pod("mlx5_4")
    plugin.scan()
    tree.remove("mlx5_4")
    assert list(plugin.scan()) == VFS[:3]
    tree.add_vf("mlx5_9", VFS[3], "mlx5_0", 3, pkey="0x8002")
    assert list(plugin.scan()) == VFS[:3]


def test_another_driver(tmp_path: Path, tree: RdmaTree) -> None:
    """A function without its RDMA driver is not in a pod: it is not listed."""
    tree.set_exclusive()
    plugin = Plugin(tmp_path, SELECTIONS["linkTypes"])
    plugin.scan()
    tree.unbind("mlx5_4")
    assert list(plugin.scan()) == VFS[:3]
    tree.bind("mlx5_4")
    assert list(plugin.scan()) == VFS


def test_the_next_container(tmp_path: Path, tree: RdmaTree) -> None:
    """It gets the device files by their current numbers, even before the kernel has returned the function."""
    tree.set_exclusive()
    plugin = Plugin(tmp_path, SELECTIONS["linkTypes"])
    before = plugin.allocate(plugin.scan()[VFS[3]])
    tree.move_to_pod("mlx5_4")
    assert plugin.allocate(plugin.scan()[VFS[3]]) == before
    assert before[1]["UCX_NET_DEVICES"] == "mlx5_4:1"


def test_a_pod_renames_its_device(tmp_path: Path, tree: RdmaTree) -> None:
    """Another function takes the name and the number that are now free: each container gets its function's files."""
    tree.set_exclusive()
    plugin = Plugin(tmp_path, SELECTIONS["linkTypes"])
    plugin.scan()
    tree.move_to_pod("mlx5_3")
    tree.rename("mlx5_3", "mine")
    tree.unbind("mlx5_4")
    tree.rename("mlx5_4", "mlx5_3")
    tree.bind("mlx5_3")
    devices = plugin.scan()
    files = {vf: plugin.allocate(devices[vf])[0][:2] for vf in (VFS[2], VFS[3])}
    assert files == {vf: _files(number) for vf, number in ((VFS[2], 3), (VFS[3], 4))}


def test_a_pod_that_had_the_device_from_the_start(tmp_path: Path, tree: RdmaTree) -> None:
    """The next container gets all its files, although the plugin never saw its name."""
    tree.set_exclusive()
    tree.move_to_pod("mlx5_4")
    plugin = Plugin(tmp_path, SELECTIONS["linkTypes"])
    assert plugin.allocate(plugin.scan()[VFS[3]])[0][:2] == _files(4)


def test_numbers_that_change_while_a_pod_has_the_device(tmp_path: Path, tree: RdmaTree) -> None:
    """The next container gets the device's current files, of every kind."""
    tree.set_exclusive()
    plugin = Plugin(tmp_path, SELECTIONS["linkTypes"])
    plugin.scan()
    tree.move_to_pod("mlx5_4")
    devices = plugin.scan()
    for kind, old, new in (("verbs", "uverbs4", "uverbs9"), ("mad", "umad8", "umad18")):
        directory = tree.root / "sys/bus/pci/devices" / VFS[3] / f"infiniband_{kind}"
        (directory / old).rename(directory / new)
        (tree.root / "dev/infiniband" / old).rename(tree.root / "dev/infiniband" / new)
    assert plugin.allocate(devices[VFS[3]])[0][:2] == _files(9)


def _files(number: int) -> list[str]:
    return [f"/dev/infiniband/{name}" for name in (f"uverbs{number}", f"umad{2 * number}")]


def test_a_device_without_files(tmp_path: Path, tree: RdmaTree) -> None:
    """The container does not start."""
    tree.set_exclusive()
    plugin = Plugin(tmp_path, SELECTIONS["linkTypes"])
    plugin.scan()
    tree.move_to_pod("mlx5_4")
    devices = plugin.scan()
    shutil.rmtree(tree.root / "sys/bus/pci/devices" / VFS[3] / "infiniband_verbs")
    with pytest.raises(ValueError, match=r"0000:07:00\.4 has no uverbs device at the moment"):
        plugin.allocate(devices[VFS[3]])


def test_a_node_interface_of_the_same_name(tmp_path: Path, tree: RdmaTree) -> None:
    """The default route on it does not involve the function in the pod."""
    plugin = Plugin(tmp_path, SELECTIONS["ifNames"])
    plugin.scan()
    tree.move_to_pod("mlx5_4")
    (tree.root / "proc/net").mkdir(parents=True)
    route = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    (tree.root / "proc/net/route").write_text(f"{route}ib0v3 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0\n")
    assert list(plugin.scan()) == VFS


def test_an_unreadable_record(tmp_path: Path, tree: RdmaTree) -> None:
    """The plugin begins without one."""
    plugin = Plugin(tmp_path, SELECTIONS["pKeys"])
    (tmp_path / "run/node/ib.functions.json").write_text("{")
    plugin.restart()
    assert list(plugin.scan()) == VFS
    tree.move_to_pod("mlx5_1")
    plugin.restart()
    assert list(plugin.scan()) == VFS


def test_names_that_are_not_text(tmp_path: Path, tree: RdmaTree) -> None:
    """They are not remembered, and do not affect other functions."""
    odd = os.fsdecode(b"\xff")
    tree.add("mlx5_8", "0000:08:00.0", driver=odd, netdevs=(odd,))
    tree.add("mlx5_9", "0000:09:00.0", netdevs=(odd,))
    plugin = Plugin(tmp_path, SELECTIONS["ifNames"])
    plugin.scan()
    tree.move_to_pod("mlx5_4")
    plugin.restart()
    assert list(plugin.scan()) == VFS


def test_random_moves(tmp_path: Path, tree: RdmaTree) -> None:
    """Functions move to pods and back, and the plugin restarts, in any order: four stay listed throughout."""
    rng = random_source()
    tree.set_exclusive()
    plugin = Plugin(tmp_path, SELECTIONS["all"])
    plugin.scan()
    away: set[int] = set()
    for _ in itertools.repeat(None, 40):
        number = rng.randrange(4)
        if number in away:
            tree.return_to_node(f"mlx5_{number + 1}", netdevs=(f"ib0v{number}",))
        else:
            tree.move_to_pod(f"mlx5_{number + 1}")
        away ^= {number}
        if rng.random() < 0.2:
            plugin.restart()
        assert list(plugin.scan()) == VFS
