"""Which GPUs a container gets."""

from pathlib import Path

import pytest

from hub import Device
from plugins.amd.plugin import AMD
from tests.simulators.amdnodes import OAM, mi210, mi300x
from tests.simulators.amdtree import AmdTree
from tests.unit.plugins.amd.amd_node import plugin, result

Node = tuple[AMD, dict[str, Device]]


def _node(tree: AmdTree, **settings: object) -> Node:
    plug = plugin(tree, **settings)
    return plug, result(plug).devices


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Create eight MI210s, four on each CPU, linked by xGMI."""
    return _node(mi210(tmp_path_factory.mktemp("whole")))


@pytest.fixture(scope="module")
def partitioned(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Create eight MI300Xs in mode CPX; the last one has one partition fewer."""
    tree = mi300x(tmp_path_factory.mktemp("partitioned"), "CPX_NPS4")
    tree.hide("0000:e5:00.0", 7)
    return _node(tree)


def _chosen(node: Node, size: int, *, without: tuple[str, ...] = (), required: tuple[str, ...] = ()) -> list[str]:
    plug, devices = node
    available = [device for name, device in devices.items() if name not in without]
    return sorted(device.id for device in plug.prefer(available, [devices[name] for name in required], size))


MI210 = [f"0000:{bus}:00.0" for bus in ("03", "27", "43", "63", "83", "a3", "c3", "e3")]


def test_close_to_a_required_gpu(whole: Node) -> None:
    """The GPU is one linked to it by xGMI. The migration cases cover requests like those in ROCm's tests."""
    assert _chosen(whole, 2, required=(MI210[7],)) == [MI210[4], MI210[7]]


def _parts(card: int, *numbers: int) -> list[str]:
    return [f"0000:{OAM[card - 1]}:00.0-{number}" for number in numbers]


def test_partitions_near_a_required_one(partitioned: Node) -> None:
    """They are on the same card."""
    assert _chosen(partitioned, 3, required=tuple(_parts(2, 5))) == _parts(2, 0, 1, 5)


def test_shares_are_of_different_gpus(tmp_path: Path) -> None:
    """Two shares of one GPU have no advantage; the least used GPU comes first."""
    tree = AmdTree(tmp_path)
    for bus in ("05", "26", "46"):
        tree.add(f"0000:{bus}:00.0")
    node = _node(tree, shares=3)
    assert _chosen(node, 2, without=("0000:05:00.0::0",)) == ["0000:26:00.0::0", "0000:46:00.0::0"]
    assert _chosen(node, 4)[:3] == ["0000:05:00.0::0", "0000:05:00.0::1", "0000:26:00.0::0"]


def test_an_inconsistent_request(whole: Node) -> None:
    """In this case, the kubelet chooses."""
    assert _chosen(whole, 9) == []
    assert _chosen(whole, 1, required=tuple(MI210[:2])) == []
    assert _chosen(whole, 2, without=tuple(MI210[:1]), required=tuple(MI210[:1])) == []
