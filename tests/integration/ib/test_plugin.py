"""The IB plugin as a kubelet sees it, on nodes that a tree of files simulates."""

import json

import pytest

from hub.testing.kubelet import FakeKubelet
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.node import Node, random_source
from tests.integration.ib.ib_plugin import EACH, HCA, root_of, start
from tests.simulators.rdma.tree import RdmaTree, dgx, two_connectx6


async def test_each_hca_is_a_device(node: Node, kubelet: FakeKubelet) -> None:
    """By default, its id is the PCI address; it has its NUMA node, its own files and the variables that name it."""
    two_connectx6(root_of(node))
    start(node)
    await kubelet.wait_for(HCA, 2)
    assert [(device.id, device.numa) for device in kubelet.devices(HCA)] == [
        ("0000:07:00.0", (0,)),
        ("0000:87:00.0", (1,)),
    ]
    got = (await kubelet.admit("job", {HCA: 1})).containers["main"].response
    assert [(node.host_path, node.permissions) for node in got.devices] == [
        ("/dev/infiniband/uverbs0", "rw"),
        ("/dev/infiniband/umad0", "rw"),
        ("/dev/infiniband/rdma_cm", "rw"),
    ]
    info = got.envs.pop("PCIDEVICE_RDMA_HCA_INFO")
    assert got.envs == {
        "PCIDEVICE_RDMA_HCA": "0000:07:00.0",
        "NCCL_IB_HCA": "mlx5_0",
        "UCX_NET_DEVICES": "mlx5_0:1",
    }
    rdma = {name: f"/dev/infiniband/{name}{number}" for name, number in (("uverbs", 0), ("umad", 0), ("rdma_cm", ""))}
    rdma["rdma_dev"] = "mlx5_0"
    assert json.loads(info) == {"0000:07:00.0": {"generic": {"deviceID": "0000:07:00.0"}, "rdma": rdma}}


async def test_a_port_that_goes_down(node: Node, kubelet: FakeKubelet) -> None:
    """After a delay, the HCA is unhealthy until the port has been up a while; the reason names its port and state."""
    tree = two_connectx6(root_of(node))
    plugin = start(node, {**EACH, "health": {"down": 0.5, "up": 0.5}})
    await kubelet.wait_for(HCA, 2)
    tree.set_port("mlx5_1", "DOWN")
    await kubelet.wait_for(HCA, 1)
    line = await plugin.logged("devices unhealthy")
    assert line["reason"] == "port 1 of mlx5_1 is DOWN (2: Polling)".replace("2: ", "")
    tree.set_port("mlx5_1", "ACTIVE")
    await kubelet.wait_for(HCA, 2)


@pytest.mark.parametrize(("rule", "healthy"), [("any", 1), ("all", 0)])
async def test_two_ports(node: Node, kubelet: FakeKubelet, rule: str, healthy: int) -> None:
    """Whether an HCA with only one port up is healthy depends on the pool's settings."""
    tree = RdmaTree(root_of(node))
    tree.add("mlx5_0", "0000:07:00.0", ports=2)
    tree.set_port("mlx5_0", "DOWN", 2)
    start(node, {**EACH, "health": {"ports": rule}})
    await kubelet.wait_until(lambda kubelet: len(kubelet.devices(HCA)) == 1)
    await kubelet.wait_for(HCA, healthy)


async def test_devices_come_and_go(node: Node, kubelet: FakeKubelet) -> None:
    """Changes are seen before the next full scan; a resource without devices stays registered."""
    tree = two_connectx6(root_of(node))
    start(node)
    await kubelet.wait_for(HCA, 2)
    tree.remove("mlx5_0")
    await kubelet.wait_until(lambda kubelet: len(kubelet.devices(HCA)) == 1)
    tree.remove("mlx5_1")
    await kubelet.wait_until(lambda kubelet: not kubelet.devices(HCA))
    tree.add("mlx5_7", "0000:07:00.0")
    await kubelet.wait_for(HCA, 1)


async def test_names_that_begin_alike(node: Node, kubelet: FakeKubelet) -> None:
    """mlx5_1 has its own files, and not those of mlx5_10."""
    tree = RdmaTree(root_of(node))
    for number in (10, 1):
        tree.add(f"mlx5_{number}", f"0000:{number:02d}:00.0")
    start(node)
    await kubelet.wait_for(HCA, 2)
    got = (await kubelet.admit("job", {HCA: 1})).containers["main"].response
    assert (got.envs["NCCL_IB_HCA"], got.devices[0].host_path) == ("mlx5_1", "/dev/infiniband/uverbs1")


async def test_hcas_of_one_numa_node(node: Node, kubelet: FakeKubelet) -> None:
    """Four HCAs for one container are on one NUMA node."""
    dgx(root_of(node))
    start(node)
    await kubelet.wait_for(HCA, 8)
    await kubelet.admit("one", {HCA: 1})
    got = (await kubelet.admit("job", {HCA: 4})).containers["main"].response
    assert got.envs["NCCL_IB_HCA"] == "mlx5_4,mlx5_5,mlx5_6,mlx5_7"


async def test_random_edits(node: Node, kubelet: FakeKubelet) -> None:
    """Devices appear, disappear and lose their ports at random; in the end the list matches the tree."""
    rng = random_source()
    tree = dgx(root_of(node))
    quick = "from plugins.ib import IB\nclass P(IB):\n    recovery = RecoveryPolicy(max_recoveries=10**9)\n"
    config = json.dumps({"configList": [{**EACH, "health": {"down": 0, "up": 0}}]})
    env = {"DPHUB_HOST_ROOT": str(tree.root)}
    plugin = node.start_plugin(node.write_plugin(quick), name="ib", config=config, env=env)
    await kubelet.wait_for(HCA, 8)
    down: set[str] = set()
    for turn in range(1000):
        edit = rng.random()
        if edit < 0.3 and len(tree.names) > 1:
            name = rng.choice(tree.names)
            tree.remove(name)
            down.discard(name)
        elif edit < 0.6:
            number = rng.randrange(1, 30)
            pci = f"0000:{number:02x}:00.0"
            if pci not in {tree.pci(name) for name in tree.names}:
                tree.add(f"mlx5_{turn + 10}", pci)
        else:
            name = rng.choice(tree.names)
            tree.set_port(name, state := rng.choice(["ACTIVE", "DOWN", "INIT"]))
            (down.discard if state == "ACTIVE" else down.add)(name)
        if turn % 50 == 0:
            plugin.hup()
    truth = {tree.pci(name): name not in down for name in tree.names}
    await kubelet.wait_until(
        lambda kubelet: {device.id: device.healthy for device in kubelet.devices(HCA)} == truth,
        WAIT_SECONDS,
        str(truth),
    )


async def test_other_fabrics(node: Node, kubelet: FakeKubelet) -> None:
    """RoCE works, and so does EFA, whose link layer is unknown; a virtual machine may have no NUMA node."""
    tree = RdmaTree(root_of(node))
    tree.add("mlx5_0", "0000:01:00.0", link_layer="Ethernet", netdevs=("eth1",), rate="100 Gb/sec (4X EDR)")
    tree.add("efa_0", "0000:02:00.0", numa=-1, vendor="1d0f", device="efa1", driver="efa", link_layer="Unknown")
    roce = {**EACH, "resourceName": "roce", "selectors": {"linkTypes": ["ether"]}}
    start(node, roce, {**EACH, "resourceName": "efa", "resourcePrefix": "aws", "selectors": {"drivers": ["efa"]}})
    await kubelet.wait_for("rdma/roce", 1)
    await kubelet.wait_for("aws/efa", 1)
    assert kubelet.devices("aws/efa")[0].numa == ()


async def test_an_exclusive_subsystem(node: Node, kubelet: FakeKubelet) -> None:
    """The consequences of exclusive mode are reported."""
    tree = two_connectx6(root_of(node))
    tree.set_exclusive()
    plugin = start(node)
    await kubelet.wait_for(HCA, 2)
    state = await wait_until(lambda: found if (found := plugin.state()) and found.excluded else None, "the mode")
    assert "exclusive namespace mode" in state.excluded[0].reason


async def test_a_kubelet_that_restarts(node: Node, kubelet: FakeKubelet) -> None:
    """All devices are allocatable again."""
    two_connectx6(root_of(node))
    start(node)
    await kubelet.wait_for(HCA, 2)
    await kubelet.restart()
    await kubelet.wait_for(HCA, 2)


async def test_no_rdma(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin stays up without a device, and gives the reason."""
    root_of(node)
    plugin = start(node)
    await kubelet.wait_for(HCA, 0)
    state = await wait_until(lambda: found if (found := plugin.state()) and found.reason else None, "the reason")
    assert state.reason == "the kernel's RDMA support is not loaded: /sys/class/infiniband does not exist"
