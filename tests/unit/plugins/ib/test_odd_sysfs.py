"""What the kernel shows may be anything: it affects the device concerned, and no other."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hub import Device, Excluded, Host
from plugins.ib.discovery.routes import default_route_interfaces
from plugins.ib.plugin import IB
from plugins.ib.settings import IBSettings
from tests.harness.files import put
from tests.harness.scanned import scanned
from tests.simulators.rdma.tree import RdmaTree

ODD, GOOD = "0000:07:00.0", "0000:87:00.0"

CONFIG = {"configList": [{"resourceName": "hca", "mode": "hca", "selectors": {"vendors": ["15b3"]}}]}


def _scan(root: Path) -> tuple[dict[str, Device], dict[str, str]]:
    plugin = IB(msgspec.convert(CONFIG, IBSettings), Host(root))
    found = scanned(plugin)
    plugin.metrics()
    devices = {each.id: each for each in found if isinstance(each, Device)}
    msgspec.json.decode(msgspec.json.encode(list(devices.values())))
    return devices, {each.id: each.reason for each in found if isinstance(each, Excluded)}


@pytest.fixture
def tree(tmp_path: Path) -> RdmaTree:
    """Create a node with two adapters, one of which a test changes."""
    tree = RdmaTree(tmp_path)
    tree.add("mlx5_0", ODD, netdevs=("ib0",), vfs=0)
    tree.add("mlx5_1", GOOD, netdevs=("ib1",))
    return tree


HARMLESS: dict[str, tuple[str, bytes | str | None]] = {
    "a firmware that is not UTF-8": ("infiniband/mlx5_0/fw_ver", b"\xff\xfe"),
    "a board that is a pipe": ("infiniband/mlx5_0/board_id", None),
    "a board that is a device": ("infiniband/mlx5_0/board_id", "/dev/zero"),
    "a node with digits that are not ASCII": ("numa_node", "²".encode()),
    "a node with many digits": ("numa_node", b"9" * 5000),
    "a rate with two points": ("infiniband/mlx5_0/ports/1/rate", b"1.2.3 Gb/sec"),
    "an infinite rate": ("infiniband/mlx5_0/ports/1/rate", b"9" * 400),
    "a port that is not a number": ("infiniband/mlx5_0/ports/x/state", b"4: ACTIVE"),
    "a port with a non-ASCII digit": ("infiniband/mlx5_0/ports/²/state", b"4: ACTIVE"),
    "a counter that is a word": ("infiniband/mlx5_0/ports/1/counters/link_downed", b"many"),
    "a counter with a non-ASCII digit": ("infiniband/mlx5_0/ports/1/counters/link_downed", "²".encode()),
    "a counter with many digits": ("infiniband/mlx5_0/ports/1/counters/link_downed", b"9" * 5000),
    "a function without a number": ("virtfnx", "../0000:07:00.1"),
    "a function that is not a link": ("virtfn0", b"x"),
    "a key that is not UTF-8": ("infiniband/mlx5_0/ports/1/pkeys/1", b"\xff"),
    "an owner that is not UTF-8": ("infiniband_verbs/uverbs0/ibdev2", b"\xff"),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_an_odd_detail_is_left_out(tree: RdmaTree, change: tuple[str, bytes | str | None]) -> None:
    """Both adapters are advertised."""
    file, content = change
    put(tree.root / "sys/bus/pci/devices" / ODD / file, content)
    devices, excluded = _scan(tree.root)
    assert (devices.keys(), excluded) == ({ODD, GOOD}, {})


def _names_of_netdevs(tree: RdmaTree) -> None:
    (tree.root / "sys/bus/pci/devices" / ODD / "net" / os.fsdecode(b"\xff\xfe")).mkdir(parents=True)


def _count_is_a_word(tree: RdmaTree) -> None:
    put(tree.root / "sys/bus/pci/devices" / ODD / "sriov_numvfs", b"many")


def _link_loops(tree: RdmaTree) -> None:
    put(tree.root / "sys/bus/pci/devices" / ODD / "infiniband/mlx5_0/device", "device")


def _links_form_a_loop_above(tree: RdmaTree) -> None:
    put(tree.root / "sys/class/infiniband/mlx5_0", "mlx5_0")


def test_a_network_interface_whose_name_is_not_text(tree: RdmaTree) -> None:
    """Its adapter can be used; the name is shown as plain text."""
    _names_of_netdevs(tree)
    devices, excluded = _scan(tree.root)
    assert (devices.keys(), excluded) == ({ODD, GOOD}, {})
    assert devices[ODD].attributes["interfaces"] == "ib0, \\xff\\xfe"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_count_is_a_word, "sriov_numvfs is 'many', expected a number"),
        (_link_loops, "Too many levels of symbolic links"),
        (_links_form_a_loop_above, "Too many levels of symbolic links"),
    ],
)
def test_an_odd_adapter_is_left_out(tree: RdmaTree, change: Callable[[RdmaTree], None], reason: str) -> None:
    """The odd adapter has a reason; the other one is advertised."""
    change(tree)
    devices, excluded = _scan(tree.root)
    assert devices.keys() == {GOOD}
    assert reason in excluded["mlx5_0"]


@pytest.mark.parametrize("name", ["mlx5_1 ", " mlx5_1", "mlx5_1\t", "mlx5_1\n", "mlx5_1\r", "mlx5_1\x1c"])
def test_an_adapter_that_is_named_like_another(tree: RdmaTree, name: str) -> None:
    """A container may rename RDMA devices, even to names with spaces: each adapter has its own function's files."""
    before, _ = _scan(tree.root)
    tree.rename("mlx5_0", name)
    after, _ = _scan(tree.root)
    assert {pci: device.nodes for pci, device in after.items()} == {pci: device.nodes for pci, device in before.items()}


_IPV4 = b"%b\t00000000\t0\t3\t0\t0\t0\t00000000\t0\t0\t0\n"
_IPV6 = b"0 00 0 0 0 0 0 0 %b %b\n"

ROUTES: dict[str, tuple[bytes | None, bytes | None]] = {
    "a name that is not ASCII": (b"Iface\n" + _IPV4 % b"\xff\xfe" + _IPV4 % b"ib0", b""),
    "flags that are not a number": (b"", _IPV6 % (b"x", b"ib1") + _IPV6 % (b"00000001", b"ib0")),
    "a pipe": (None, _IPV6 % (b"00000001", b"ib0")),
}


@pytest.mark.parametrize("name", ROUTES)
def test_an_odd_route_is_left_out(tmp_path: Path, name: str) -> None:
    """The interfaces of all the others are known."""
    for file, content in zip(("route", "ipv6_route"), ROUTES[name], strict=True):
        put(tmp_path / "proc/net" / file, content)
    assert "ib0" in default_route_interfaces(Host(tmp_path))


def test_interfaces_of_routes_have_the_names_of_the_adapters(tmp_path: Path) -> None:
    """This holds even if they are not text: the node's own interface is never given away."""
    tree = RdmaTree(tmp_path)
    tree.add("mlx5_0", ODD)
    _names_of_netdevs(tree)
    put(tmp_path / "proc/net/route", b"Iface\n" + _IPV4 % b"\xff\xfe")
    devices, excluded = _scan(tmp_path)
    assert not devices
    assert "the node's default route is on its interface" in excluded[ODD]
