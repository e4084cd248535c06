"""Which device belongs to which pool."""

from pathlib import Path

import msgspec
import pytest

from hub import Host
from plugins.ib.discovery.facts import Hca
from plugins.ib.discovery.sysfs import read_hcas
from plugins.ib.resources import assign_pools
from plugins.ib.settings import IBSettings, Mode
from tests.simulators.rdma.tree import RdmaTree, sixty_four_vfs, two_connectx6


def _read(tree: RdmaTree) -> list[Hca]:
    return read_hcas(Host(tree.root)).hcas


def _selected(hcas: list[Hca], mode: Mode = Mode.HCA, **selectors: object) -> list[str]:
    config = {"configList": [{"resourceName": "x", "mode": mode, "selectors": selectors}]}
    ((_, members),) = assign_pools(msgspec.convert(config, IBSettings).config_list, hcas, ()).members
    return [hca.name for hca in members]


def _various(root: Path) -> list[Hca]:
    tree = two_connectx6(root)
    tree.add("mlx5_2", "0000:08:00.0", device="1017", link_layer="Ethernet", netdevs=("eth1", "eth2"), pkey="0x8001")
    tree.add("efa_0", "0000:09:00.0", vendor="1d0f", device="efa1", driver="efa", link_layer="Unknown")
    tree.add("mlx5_3", "0000:0a:00.0", vendor="15b4", device="1019", driver="other", pkey="0x8001")
    return _read(tree)


@pytest.mark.parametrize(
    ("selectors", "names"),
    [
        ({"vendors": ["15b3"]}, ["mlx5_0", "mlx5_2", "mlx5_1"]),
        ({"vendors": ["0x15B3", "1d0f"]}, ["mlx5_0", "mlx5_2", "efa_0", "mlx5_1"]),
        ({"deviceIDs": ["1017"]}, ["mlx5_2"]),
        ({"drivers": ["efa"]}, ["efa_0"]),
        ({"ifNames": ["ib1", "eth2"]}, ["mlx5_2", "mlx5_1"]),
        ({"linkTypes": ["ether"]}, ["mlx5_2"]),
        ({"linkTypes": ["infiniband"]}, ["mlx5_0", "mlx5_1"]),
        ({"vendors": ["15b3"], "deviceIDs": ["101b"], "ifNames": ["ib0", "eth1"]}, ["mlx5_0"]),
        ({"pciAddresses": ["0000:87:00.0"]}, ["mlx5_1"]),
        ({"pKeys": ["0x8001"]}, ["mlx5_3"]),
        ({"ifNames": ["ib9"]}, []),
    ],
)
def test_selectors(tmp_path: Path, selectors: dict[str, object], names: list[str]) -> None:
    """All selectors have to match; a selector matches if any of its entries does."""
    assert _selected(_various(tmp_path), **selectors) == names


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> list[Hca]:
    """Create an HCA with 64 virtual functions; its many files are written once."""
    return _read(sixty_four_vfs(tmp_path_factory.mktemp("node")))


@pytest.mark.parametrize(
    ("selectors", "numbers"),
    [
        ({"pfNames": ["ib0"]}, list(range(64))),
        ({"pfNames": ["ib0#0,2-7"]}, [0, 2, 3, 4, 5, 6, 7]),
        ({"pfNames": ["mlx5_0#63"]}, [63]),
        ({"rootDevices": ["0000:07:00.0#1-2"]}, [1, 2]),
        ({"rootDevices": ["0000:08:00.0"]}, []),
        ({"deviceIDs": ["101c"], "pfNames": ["ib1", "ib0#5"]}, [5]),
    ],
)
def test_virtual_functions(divided: list[Hca], selectors: dict[str, object], numbers: list[int]) -> None:
    """They are selected by the name or address of their physical function, and their number on it."""
    assert sorted(_selected(divided, Mode.VF, **selectors)) == sorted(f"mlx5_{number + 1}" for number in numbers)


def test_which_hcas_each_mode_accepts(tmp_path: Path) -> None:
    """A function with VFs is not an HCA, and its VFs are not physical; a shared pool accepts what it selects."""
    tree = RdmaTree(tmp_path)
    tree.add("mlx5_0", "0000:07:00.0")
    tree.add("mlx5_1", "0000:08:00.0")
    tree.add_vf("mlx5_2", "0000:08:00.1", "mlx5_1", 0)
    hcas = _read(tree)
    vendor = {"vendors": ["15b3"]}
    assert _selected(hcas, Mode.HCA, **vendor) == ["mlx5_0"]
    assert _selected(hcas, Mode.VF, **vendor) == ["mlx5_2"]
    assert _selected(hcas, Mode.POOL, **vendor) == ["mlx5_0", "mlx5_1", "mlx5_2"]


def test_hcas_and_virtual_functions_side_by_side(tmp_path: Path) -> None:
    """Two pools that select the same vendor share a node by their modes, without a conflict."""
    tree = sixty_four_vfs(tmp_path)
    tree.add("mlx5_65", "0000:08:00.0")
    pools = [{"resourceName": mode, "mode": mode, "selectors": {"vendors": ["15b3"]}} for mode in ("hca", "vf")]
    found = assign_pools(msgspec.convert({"configList": pools}, IBSettings).config_list, _read(tree), ())
    assert [len(members) for _, members in found.members] == [1, 64]
    assert [pci for pci, _ in found.excluded] == ["0000:07:00.0"]


def test_facts(tmp_path: Path) -> None:
    """They are what sysfs says about a device, by its exact name."""
    tree = RdmaTree(tmp_path)
    tree.add("mlx5_10", "0000:07:00.0", numa=-1, ports=2, rate="400 Gb/sec (4X NDR)", netdevs=("ib0",))
    tree.add("mlx5_1", "0000:08:00.0", rate="100 Gb/sec", state="ACTIVE_DEFER")
    first, second = _read(tree)
    assert (first.name, first.numa, first.uverbs, first.umads) == ("mlx5_10", None, "uverbs0", ("umad0", "umad1"))
    assert [(port.number, port.rate, port.state, port.phys_state) for port in first.ports] == [
        (1, 400, "ACTIVE", "LinkUp"),
        (2, 400, "ACTIVE", "LinkUp"),
    ]
    assert (second.uverbs, second.issms, second.ports[0].rate, second.ports[0].state) == (
        "uverbs1",
        ("issm2",),
        100,
        "ACTIVE_DEFER",
    )
    assert (first.firmware, first.board, first.node_guid) == ("20.28.1002", "MT_0000000223", "506b:4b03:0028:5028")
