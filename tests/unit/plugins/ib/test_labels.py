"""Labels of nodes with RDMA devices."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from hub import Host
from hub.base.featurefiles import label_problem
from plugins.ib import IB
from plugins.ib.discovery.facts import Hca, Port
from plugins.ib.labels import node_labels
from plugins.ib.settings import IBSettings
from tests.harness.scanned import scanned
from tests.simulators.rdma.tree import RdmaTree

CAPABLE = {"dphub.dev/rdma.capable": "true"}


def _hca(number: int, *ports: Port, pf: str = "") -> Hca:
    return Hca(f"0000:{number:02x}:00.0", "15b3", "101b", "mlx5_core", 0, (), (), ports=ports, pf=pf)


def _port(layer: str, rate: float, state: str = "ACTIVE") -> Port:
    return Port(1, state, "LinkUp", layer, rate)


def _labels(hcas: Sequence[Hca]) -> dict[str, str]:
    found = node_labels(hcas)
    assert not [name for name, value in found.items() if label_problem(name, value)]
    return {name.removeprefix("dphub.dev/rdma."): value for name, value in found.items() if name not in CAPABLE}


def test_link_types_and_rates() -> None:
    """They give the number of ports of each type, and the highest rate of those that are up."""
    hcas = [
        _hca(1, _port("InfiniBand", 400), _port("InfiniBand", 200)),
        _hca(2, _port("InfiniBand", 800, "DOWN")),
        _hca(3, _port("Ethernet", 2.5, "ACTIVE_DEFER")),
    ]
    expected = {"infiniband.ports": "3", "infiniband.rate": "400", "ethernet.ports": "1", "ethernet.rate": "2.5"}
    assert _labels(hcas) == expected


def test_ports_that_are_down() -> None:
    """Their rate is not the network's; devices may have no port, or one of a different type, such as Amazon's EFA."""
    assert _labels([_hca(1, _port("InfiniBand", 10, "DOWN"))]) == {"infiniband.ports": "1"}
    assert _labels([_hca(1), _hca(2, _port("Unknown", 100))]) == {}


def test_virtual_functions_count_once() -> None:
    """They have the port of their physical function, unless that is not on this node, as in a virtual machine."""
    port = _port("InfiniBand", 400)
    functions = [_hca(1, port), *(_hca(number, port, pf="0000:01:00.0") for number in (2, 3))]
    assert _labels(functions)["infiniband.ports"] == "1"
    assert _labels(functions[1:])["infiniband.ports"] == "2"


def test_a_node(tmp_path: Path) -> None:
    """The plugin has the labels of its last scan; a node without RDMA devices has none."""
    plugin = IB(msgspec.convert({}, IBSettings), Host(tmp_path))
    assert plugin.labels([]) == {}
    RdmaTree(tmp_path).add("mlx5_0", "0000:07:00.0")
    scanned(plugin)
    found = plugin.labels([])
    assert CAPABLE.items() <= found.items()
    assert found["dphub.dev/rdma.infiniband.ports"] == "1"
