"""Which HCA is close to which GPU, by the tree of PCI bridges."""

from pathlib import Path

import pytest

from hub import Host
from plugins.ib import IB
from plugins.ib.settings import IBSettings
from tests.simulators.rdma.tree import RdmaTree

GPU = "0000:01:00.0"


def _tree(root: Path, gpu: str, *hcas: tuple[str, int]) -> list[int]:
    """Return how close HCAs below these bridges and on these NUMA nodes are to a GPU below another one, on node 0."""
    tree = RdmaTree(root)
    tree.add("a_gpu_to_be", GPU, switch=gpu, numa=0)
    addresses = []
    for number, (bridge, numa) in enumerate(hcas):
        addresses.append(f"0000:{'8' if numa else '0'}{number + 2}:00.0")
        tree.add(f"mlx5_{number}", addresses[-1], switch=bridge, numa=numa)
    plugin = IB(IBSettings(), Host(root))
    return [plugin._closeness(GPU, address) for address in addresses]


def test_bridges(tmp_path: Path) -> None:
    """The same switch is closest, then several, the same root, the same node, and the rest of the system."""
    values = _tree(tmp_path, "bridge/switch", ("", 1), ("", 0), ("bridge", 0), ("bridge/switch", 0))
    assert values == sorted(values)
    assert len(set(values)) == 4


def test_a_virtual_machine(tmp_path: Path) -> None:
    """If all devices are on one bus, the NUMA node decides."""
    near, far = _tree(tmp_path, "", ("", 0), ("", 1))
    assert near > far


@pytest.mark.parametrize("gpu", ["0000:ff:00.0", "nonsense"])
def test_an_unknown_gpu(tmp_path: Path, gpu: str) -> None:
    """A hint that means nothing is not an error."""
    tree = RdmaTree(tmp_path)
    tree.add("mlx5_0", "0000:07:00.0")
    assert IB(IBSettings(), Host(tmp_path))._closeness(gpu, "0000:07:00.0") >= 0
