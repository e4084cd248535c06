"""The hardware for which the plugin is suggested."""

from pathlib import Path

from hub import Host
from plugins.ib import IB
from plugins.ib.settings import IBSettings
from tests.harness.files import put
from tests.simulators.rdma.tree import RdmaTree


def test_adapters_with_and_without_a_driver(tmp_path: Path) -> None:
    """NVIDIA's are found by their ids, even if no driver is loaded; others if the kernel shows their RDMA devices."""
    assert list(IB(IBSettings(), Host(tmp_path)).hardware()) == []
    tree = RdmaTree(tmp_path)
    tree.add("mlx5_0", "0000:07:00.0")
    put(tmp_path / "sys/bus/pci/devices/0000:07:00.0/class", b"0x020700\n")
    tree.add("irdma0", "0000:08:00.0", vendor="8086")
    put(tmp_path / "sys/bus/pci/devices/0000:09:00.0/class", b"0x020700\n")
    put(tmp_path / "sys/bus/pci/devices/0000:09:00.0/vendor", b"0x15b3\n")
    found = [each.partition(" (")[0] for each in IB(IBSettings(), Host(tmp_path)).hardware()]
    assert found == ["NVIDIA adapter 0000:07:00.0", "NVIDIA adapter 0000:09:00.0", "RDMA device irdma0"]
