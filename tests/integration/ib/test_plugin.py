"""The IB plugin through a kubelet, on nodes that a tree of files simulates."""

import json
from pathlib import Path

import pytest

from hub.base.exits import Exit
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import PluginProcess
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.node import Node, chance
from tests.simulators.rdma.tree import RdmaTree, dgx, sixty_four_vfs, two_connectx6

HCA = "rdma/hca"


EACH = {"resourceName": "hca", "mode": "hca", "selectors": {"vendors": ["15b3"]}}


def _root(node: Node) -> Path:
    root = node.directory / "root"
    root.mkdir()
    return root


def _start(node: Node, *pools: dict[str, object], interval: float = 60) -> PluginProcess:
    config = json.dumps({"periodicUpdateInterval": interval, "configList": pools}) if pools else None
    root = str(node.directory / "root")
    return node.start_plugin("plugins.ib:IB", name="ib", config=config, env={"DPHUB_HOST_ROOT": root})


async def test_each_hca_is_a_device(node: Node, kubelet: FakeKubelet) -> None:
    """By default, its id is its PCI address; it has its NUMA node, its own files and the variables that name it."""
    two_connectx6(_root(node))
    _start(node)
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


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
async def test_the_shared_plugins_pools(node: Node, kubelet: FakeKubelet, suffix: str) -> None:
    """Its own example works: devices with the files of all HCAs of their pool, rdma_cm once, and no variables."""
    tree = two_connectx6(_root(node))
    tree.add("mlx5_3", "0000:88:00.0", numa=1, device="1017", netdevs=("ib3",))
    config = node.directory / f"config{suffix}"
    config.write_text(
        json.dumps(
            {
                "configList": [
                    {"resourceName": "hca_shared_devices_a", "rdmaHcaMax": 1000, "devices": ["ib0", "ib1"]},
                    {
                        "resourceName": "hca_shared_devices_b",
                        "rdmaHcaMax": 500,
                        "selectors": {"vendors": ["15b3"], "deviceIDs": ["1017"], "ifNames": ["ib3", "ib4"]},
                    },
                ]
            }
        )
    )
    node.start_plugin("plugins.ib:IB", name="ib", config=config, env={"DPHUB_HOST_ROOT": str(tree.root)})
    await kubelet.wait_for("rdma/hca_shared_devices_a", 1000)
    await kubelet.wait_for("rdma/hca_shared_devices_b", 500)
    for name, files in {
        "a": ("rdma_cm", "umad0", "umad2", "uverbs0", "uverbs1"),
        "b": ("rdma_cm", "umad4", "uverbs2"),
    }.items():
        got = (await kubelet.admit(name, {f"rdma/hca_shared_devices_{name}": 2})).containers["main"].response
        assert got.envs == {}
        assert sorted(node.host_path for node in got.devices) == [f"/dev/infiniband/{file}" for file in files]


async def test_shares_of_an_hca(node: Node, kubelet: FakeKubelet) -> None:
    """They are replicas of one HCA; one container gets shares of different HCAs."""
    tree = RdmaTree(_root(node))
    tree.add("mlx5_0", "0000:07:00.0")
    tree.add("mlx5_1", "0000:08:00.0")
    _start(node, {**EACH, "rdmaHcaMax": 3, "nodes": ["issm"], "permissions": "rwm"})
    await kubelet.wait_for(HCA, 6)
    assert kubelet.devices(HCA)[0].id == "0000:07:00.0::0"
    got = (await kubelet.admit("job", {HCA: 2})).containers["main"].response
    assert got.envs["NCCL_IB_HCA"] == "mlx5_0,mlx5_1"
    assert [(node.host_path, node.permissions) for node in got.devices] == [
        (f"/dev/infiniband/{name}", "rwm") for name in ("uverbs0", "issm0", "uverbs1", "issm2")
    ]


async def test_a_port_that_goes_down(node: Node, kubelet: FakeKubelet) -> None:
    """It does not count at once; then the HCA is unhealthy with port and state, until the port was up for a while."""
    tree = two_connectx6(_root(node))
    plugin = _start(node, {**EACH, "health": {"down": 0.5, "up": 0.5}})
    await kubelet.wait_for(HCA, 2)
    tree.set_port("mlx5_1", "DOWN")
    await kubelet.wait_for(HCA, 1)
    line = await plugin.logged("devices unhealthy")
    assert line["reason"] == "port 1 of mlx5_1 is DOWN (2: Polling)".replace("2: ", "")
    tree.set_port("mlx5_1", "ACTIVE")
    await kubelet.wait_for(HCA, 2)


@pytest.mark.parametrize(("rule", "healthy"), [("any", 1), ("all", 0)])
async def test_two_ports(node: Node, kubelet: FakeKubelet, rule: str, healthy: int) -> None:
    """An HCA with one port up is healthy or not, as the pool says."""
    tree = RdmaTree(_root(node))
    tree.add("mlx5_0", "0000:07:00.0", ports=2)
    tree.set_port("mlx5_0", "DOWN", 2)
    _start(node, {**EACH, "health": {"ports": rule}})
    await kubelet.wait_until(lambda kubelet: len(kubelet.devices(HCA)) == 1)
    await kubelet.wait_for(HCA, healthy)


async def test_devices_come_and_go(node: Node, kubelet: FakeKubelet) -> None:
    """Changes are seen before the next full scan; a resource without devices stays, with zero."""
    tree = two_connectx6(_root(node))
    _start(node)
    await kubelet.wait_for(HCA, 2)
    tree.remove("mlx5_0")
    await kubelet.wait_until(lambda kubelet: len(kubelet.devices(HCA)) == 1)
    tree.remove("mlx5_1")
    await kubelet.wait_until(lambda kubelet: not kubelet.devices(HCA))
    tree.add("mlx5_7", "0000:07:00.0")
    await kubelet.wait_for(HCA, 1)


async def test_names_that_begin_alike(node: Node, kubelet: FakeKubelet) -> None:
    """mlx5_1 has its own files, and not those of mlx5_10."""
    tree = RdmaTree(_root(node))
    for number in (10, 1):
        tree.add(f"mlx5_{number}", f"0000:{number:02d}:00.0")
    _start(node)
    await kubelet.wait_for(HCA, 2)
    got = (await kubelet.admit("job", {HCA: 1})).containers["main"].response
    assert (got.envs["NCCL_IB_HCA"], got.devices[0].host_path) == ("mlx5_1", "/dev/infiniband/uverbs1")


async def test_what_is_left_out(node: Node, kubelet: FakeKubelet) -> None:
    """Each is listed with its reason: no pool, functions with virtual ones, no driver, the node's own interface."""
    root = _root(node)
    tree = RdmaTree(root)
    tree.add("mlx5_0", "0000:01:00.0")
    tree.add("efa_0", "0000:02:00.0", vendor="1d0f", device="efa1", driver="efa", link_layer="Unknown")
    tree.add("mlx5_2", "0000:03:00.0", vfs=4)
    tree.add("mlx5_3", "0000:04:00.0", driver="")
    tree.add("mlx5_4", "0000:05:00.0", link_layer="Ethernet", netdevs=("eth0",))
    (root / "proc/net").mkdir(parents=True)
    route = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    (root / "proc/net/route").write_text(f"{route}eth0 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0\n")
    plugin = _start(node)
    await kubelet.wait_for(HCA, 1)
    state = await wait_until(
        lambda: found if (found := plugin.state()) and found.excluded else None, "what is left out"
    )
    reasons = {each.id: each.reason for each in state.excluded}
    assert {pci: reasons[pci].partition(": ")[2] for pci in reasons} == {
        "0000:02:00.0": "no pool selects it",
        "0000:03:00.0": "it has 4 virtual functions; use those instead",
        "0000:04:00.0": "no driver is bound to it",
        "0000:05:00.0": "the node's default route is on its interface eth0",
    }


async def test_overlapping_pools(node: Node, kubelet: FakeKubelet) -> None:
    """The first pool has the HCA, and the conflict is reported with both names."""
    two_connectx6(_root(node))
    plugin = _start(node, {**EACH, "selectors": {"ifNames": ["ib0"]}}, {**EACH, "resourceName": "rest"})
    await kubelet.wait_for(HCA, 1)
    await kubelet.wait_for("rdma/rest", 1)
    state = await wait_until(lambda: found if (found := plugin.state()) and found.excluded else None, "the clash")
    assert state.excluded[0].reason == "0000:07:00.0 (mlx5_0) is also selected by rdma/hca, which comes first"


async def test_hcas_of_one_numa_node(node: Node, kubelet: FakeKubelet) -> None:
    """Four HCAs for one container are on one NUMA node."""
    dgx(_root(node))
    _start(node)
    await kubelet.wait_for(HCA, 8)
    await kubelet.admit("one", {HCA: 1})
    got = (await kubelet.admit("job", {HCA: 4})).containers["main"].response
    assert got.envs["NCCL_IB_HCA"] == "mlx5_4,mlx5_5,mlx5_6,mlx5_7"


async def test_virtual_functions(node: Node, kubelet: FakeKubelet) -> None:
    """Each is for one container; by default it is healthy though its port is down until a pod sets it up."""
    tree = sixty_four_vfs(_root(node))
    pool = {"resourceName": "vf", "resourcePrefix": "nvidia.com", "mode": "vf", "selectors": {"pfNames": ["ib0#0-3"]}}
    strict = {**pool, "resourceName": "strict", "selectors": {"pfNames": ["ib0#4-5"]}}
    strict["health"] = {"ports": "any", "up": 0}
    _start(node, pool, strict)
    await kubelet.wait_for("nvidia.com/vf", 4)
    await kubelet.wait_until(lambda kubelet: len(kubelet.devices("nvidia.com/strict")) == 2)
    await kubelet.wait_for("nvidia.com/strict", 0)
    got = (await kubelet.admit("job", {"nvidia.com/vf": 1})).containers["main"].response
    assert got.envs["PCIDEVICE_NVIDIA_COM_VF"] == "0000:07:00.1"
    assert got.devices[0].host_path == "/dev/infiniband/uverbs1"
    tree.set_port("mlx5_5", "ACTIVE")
    await kubelet.wait_for("nvidia.com/strict", 1)


async def test_random_edits(node: Node, kubelet: FakeKubelet) -> None:
    """Devices appear, disappear and lose their ports at random; in the end the list matches the tree."""
    chance_of = chance()
    tree = dgx(_root(node))
    quick = "from plugins.ib import IB\nclass P(IB):\n    recovery = RecoveryPolicy(max_recoveries=10**9)\n"
    config = json.dumps({"configList": [{**EACH, "health": {"down": 0, "up": 0}}]})
    env = {"DPHUB_HOST_ROOT": str(tree.root)}
    plugin = node.start_plugin(node.write_plugin(quick), name="ib", config=config, env=env)
    await kubelet.wait_for(HCA, 8)
    down: set[str] = set()
    for turn in range(1000):
        edit = chance_of.random()
        if edit < 0.3 and len(tree.names) > 1:
            name = chance_of.choice(tree.names)
            tree.remove(name)
            down.discard(name)
        elif edit < 0.6:
            number = chance_of.randrange(1, 30)
            pci = f"0000:{number:02x}:00.0"
            if pci not in {tree.pci(name) for name in tree.names}:
                tree.add(f"mlx5_{turn + 10}", pci)
        else:
            name = chance_of.choice(tree.names)
            tree.set_port(name, state := chance_of.choice(["ACTIVE", "DOWN", "INIT"]))
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
    tree = RdmaTree(_root(node))
    tree.add("mlx5_0", "0000:01:00.0", link_layer="Ethernet", netdevs=("eth1",), rate="100 Gb/sec (4X EDR)")
    tree.add("efa_0", "0000:02:00.0", numa=-1, vendor="1d0f", device="efa1", driver="efa", link_layer="Unknown")
    roce = {**EACH, "resourceName": "roce", "selectors": {"linkTypes": ["ether"]}}
    _start(node, roce, {**EACH, "resourceName": "efa", "resourcePrefix": "aws", "selectors": {"drivers": ["efa"]}})
    await kubelet.wait_for("rdma/roce", 1)
    await kubelet.wait_for("aws/efa", 1)
    assert kubelet.devices("aws/efa")[0].numa == ()


async def test_an_exclusive_subsystem(node: Node, kubelet: FakeKubelet) -> None:
    """The consequences of exclusive mode are reported."""
    tree = two_connectx6(_root(node))
    tree.set_exclusive()
    plugin = _start(node)
    await kubelet.wait_for(HCA, 2)
    state = await wait_until(lambda: found if (found := plugin.state()) and found.excluded else None, "the mode")
    assert "exclusive namespace mode" in state.excluded[0].reason


async def test_a_kubelet_that_restarts(node: Node, kubelet: FakeKubelet) -> None:
    """All devices are allocatable again."""
    two_connectx6(_root(node))
    _start(node)
    await kubelet.wait_for(HCA, 2)
    await kubelet.restart()
    await kubelet.wait_for(HCA, 2)


async def test_variables_are_switches(node: Node, kubelet: FakeKubelet) -> None:
    """A container gets those that are switched on; missing files are left out, and uverbs never is."""
    tree = two_connectx6(_root(node))
    (tree.root / "dev/infiniband/rdma_cm").unlink()
    _start(node, {**EACH, "ncclIbHca": False, "ucxNetDevices": False, "nodes": ["rdma_cm"]})
    await kubelet.wait_for(HCA, 2)
    got = (await kubelet.admit("job", {HCA: 1})).containers["main"].response
    assert set(got.envs) == {"PCIDEVICE_RDMA_HCA", "PCIDEVICE_RDMA_HCA_INFO"}
    assert [node.host_path for node in got.devices] == ["/dev/infiniband/uverbs0"]


async def test_no_rdma(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin stays up without a device, and gives the reason."""
    _root(node)
    plugin = _start(node)
    await kubelet.wait_for(HCA, 0)
    state = await wait_until(lambda: found if (found := plugin.state()) and found.reason else None, "the reason")
    assert state.reason == "the kernel's RDMA support is not loaded: /sys/class/infiniband does not exist"


async def test_pools_that_name_the_same_interface(node: Node) -> None:
    """They are refused, with both names."""
    _root(node)
    first, second = ({**EACH, "resourceName": name, "selectors": {"ifNames": [name, "ib0"]}} for name in "ab")
    plugin = _start(node, first, second)
    assert await plugin.exited() == Exit.USAGE
    reason = plugin.lines("plugin not started")[0]["reason"]
    assert "configList: rdma/a and rdma/b both select the interface ib0" in reason


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        (
            {**EACH, "devices": ["ib0"], "selectors": {"ifNames": ["ib1"]}},
            "configList[0]: devices and selectors.ifNames are both set",
        ),
        ({"resourceName": "hca"}, "configList[0]: neither devices nor selectors are set"),
        ({**EACH, "resourceName": "h-c-a"}, "configList[0].resourceName: "),
        ({**EACH, "rdmaHcaMaximum": 3}, 'configList[0]: unknown key "rdmaHcaMaximum"'),
        ({**EACH, "selectors": {"vendor": ["15b3"]}}, "configList[0].selectors: unknown key"),
        ({**EACH, "mode": "pf"}, "configList[0].mode: unknown value 'pf'"),
        ({**EACH, "mode": "vf", "rdmaHcaMax": 2}, "configList[0]: rdmaHcaMax is 2, expected 1 in vf mode"),
        ({**EACH, "selectors": {"pfNames": ["ib0#a"]}}, "configList[0].selectors.pfNames[0]: "),
        ({**EACH, "selectors": {"vendors": ["mellanox"]}}, "configList[0].selectors.vendors[0]: "),
        ({**EACH, "permissions": "w"}, "configList[0].permissions: "),
    ],
)
async def test_wrong_configurations(node: Node, pool: dict[str, object], words: str) -> None:
    """They are refused, with the place of the mistake."""
    _root(node)
    plugin = _start(node, pool)
    assert await plugin.exited() == Exit.USAGE
    assert words in plugin.lines("plugin not started")[0]["reason"]
