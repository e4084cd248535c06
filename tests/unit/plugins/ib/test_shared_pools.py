"""What users of the RDMA shared device plugin rely on."""

import json
from pathlib import Path

import msgspec
import pytest
import structlog

from hub import Device, Host
from plugins.ib.plugin import IB
from plugins.ib.settings import IBSettings
from tests.harness.scanned import scanned
from tests.simulators.rdma.tree import two_connectx6

A, B = "0000:07:00.0", "0000:87:00.0"


def _pool(name: str, *interfaces: str, **keys: object) -> dict[str, object]:
    return {"resourceName": name, "selectors": {"ifNames": interfaces}, **keys}


def _plugin(root: Path, *pools: dict[str, object], **keys: object) -> tuple[IB, dict[str, Device]]:
    plugin = IB(msgspec.convert({"configList": pools, **keys}, IBSettings), Host(root))
    return plugin, {each.resource: each for each in scanned(plugin) if isinstance(each, Device)}


def test_an_hca_in_every_pool_that_selects_it(tmp_path: Path) -> None:
    """Both pools count, and the containers of both get its files."""
    two_connectx6(tmp_path)
    plugin, devices = _plugin(tmp_path, _pool("a", "ib0"), _pool("b", "ib0", "ib1"))
    assert {name: device.pci for name, device in devices.items()} == {"rdma/a": [A], "rdma/b": [A, B]}
    files = [str(node.host_path) for node in plugin.allocate([devices["rdma/b"]]).nodes]
    assert files == [f"/dev/infiniband/{name}" for name in ("uverbs0", "umad0", "rdma_cm", "uverbs1", "umad2")]


def test_a_pool_with_hcas_of_its_own_shares_none(tmp_path: Path) -> None:
    """The first pool decides whether an HCA is shared; the conflict with the other one is listed."""
    two_connectx6(tmp_path)
    both = {"vendors": ["15b3"]}
    pools = [_pool("a", "ib0"), {**_pool("b"), "selectors": both, "mode": "hca"}, {**_pool("c"), "selectors": both}]
    _, devices = _plugin(tmp_path, *pools)
    assert {name: device.pci for name, device in devices.items()} == {"rdma/a": [A], "rdma/b": [B], "rdma/c": [A]}


@pytest.mark.parametrize(("keys", "numa"), [({}, []), ({"excludeTopology": False}, [0])])
def test_numa_nodes(tmp_path: Path, keys: dict[str, object], numa: list[int]) -> None:
    """There are none unless configured: the kubelet would reject pods that the shared plugin served."""
    two_connectx6(tmp_path)
    _, devices = _plugin(tmp_path, _pool("a", "ib0", **keys))
    assert list(devices["rdma/a"].numa) == numa


def test_cdi_names(tmp_path: Path) -> None:
    """They match the shared plugin's, in one file: containers created while it was in use can restart."""
    two_connectx6(tmp_path)
    plugin, devices = _plugin(tmp_path, _pool("a", "ib0"), _pool("b", "ib0", "ib1"), cdi=["cri"])
    assert plugin.allocate([devices["rdma/b"]]).cdi == [f"nvidia.com/net-rdma={pci}" for pci in (A, B)]
    (file,) = (tmp_path / "var/run/cdi").iterdir()
    spec = json.loads(file.read_text())
    assert file.name == "rdma.device-plugin-hub-nvidia.com-net-rdma.json"
    assert (spec["kind"], [each["name"] for each in spec["devices"]]) == ("nvidia.com/net-rdma", [A, B])


def test_cdi_names_that_would_mean_two_things(tmp_path: Path) -> None:
    """They are refused, unless one pool has a kind of its own."""
    two_connectx6(tmp_path)
    pools = _pool("a", "ib0"), _pool("b", "ib0", nodes=["issm"])
    with pytest.raises(msgspec.ValidationError, match="rdma/a and rdma/b have the same CDI kind"):
        _plugin(tmp_path, *pools, cdi=["cri"])
    _plugin(tmp_path, *pools)
    plugin, devices = _plugin(tmp_path, pools[0], {**pools[1], "cdiKind": "example.com/issm"}, cdi=["cri"])
    assert plugin.allocate([devices["rdma/b"]]).cdi == [f"example.com/issm={A}"]


def test_the_sample_of_its_readme(tmp_path: Path) -> None:
    """The kubelet rejects the name of its first resource, so the file is rejected for the same reason."""
    two_connectx6(tmp_path)
    first = {"resourcePrefix": "example_prefix", "rdmaHcaMax": 1000, "devices": ["ib0", "ib1"]}
    second = _pool("hca_shared_devices_b", "ib3", "ib4", rdmaHcaMax=500)
    reason = 'the ResourceName "example_prefix/hca_shared_devices_a" is invalid'
    with pytest.raises(msgspec.ValidationError, match=reason):
        _plugin(tmp_path, {"resourceName": "hca_shared_devices_a", **first}, second, periodicUpdateInterval=300)


def test_interfaces_are_brought_up_once(tmp_path: Path) -> None:
    """This applies to HCAs in pools that request it; a failure is logged and affects nothing else."""
    two_connectx6(tmp_path)
    with structlog.testing.capture_logs() as logs:
        plugin, devices = _plugin(tmp_path, _pool("a", "ib0", bringUp=True), _pool("b", "ib1"))
        scanned(plugin)
    assert [(each["event"], each["interface"]) for each in logs] == [("interface stayed down", "ib0")]
    assert not devices["rdma/a"].unhealthy
