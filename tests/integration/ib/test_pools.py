"""The pools of the IB plugin: which devices each has, what containers get for them, and mistakes in their settings."""

import json

import pytest

from hub.base.exits import Exit
from hub.testing.kubelet import FakeKubelet
from hub.testing.waiting import wait_until
from tests.harness.node import Node
from tests.integration.ib.ib_plugin import EACH, HCA, root_of, start
from tests.simulators.rdma.tree import RdmaTree, sixty_four_vfs, two_connectx6


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
async def test_the_shared_plugins_pools(node: Node, kubelet: FakeKubelet, suffix: str) -> None:
    """The shared plugin's example works: devices with the files of all HCAs of a pool, one rdma_cm, no variables."""
    tree = two_connectx6(root_of(node))
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
    """The shares are replicas of one HCA; one container gets shares of different HCAs."""
    tree = RdmaTree(root_of(node))
    tree.add("mlx5_0", "0000:07:00.0")
    tree.add("mlx5_1", "0000:08:00.0")
    start(node, {**EACH, "rdmaHcaMax": 3, "nodes": ["issm"], "permissions": "rwm"})
    await kubelet.wait_for(HCA, 6)
    assert kubelet.devices(HCA)[0].id == "0000:07:00.0::0"
    got = (await kubelet.admit("job", {HCA: 2})).containers["main"].response
    assert got.envs["NCCL_IB_HCA"] == "mlx5_0,mlx5_1"
    assert [(node.host_path, node.permissions) for node in got.devices] == [
        (f"/dev/infiniband/{name}", "rwm") for name in ("uverbs0", "issm0", "uverbs1", "issm2")
    ]


async def test_what_is_left_out(node: Node, kubelet: FakeKubelet) -> None:
    """Each is listed with its reason: no pool, virtual functions of its own, no driver, or the node's own interface."""
    root = root_of(node)
    tree = RdmaTree(root)
    tree.add("mlx5_0", "0000:01:00.0")
    tree.add("efa_0", "0000:02:00.0", vendor="1d0f", device="efa1", driver="efa", link_layer="Unknown")
    tree.add("mlx5_2", "0000:03:00.0", vfs=4)
    tree.add("mlx5_3", "0000:04:00.0", driver="")
    tree.add("mlx5_4", "0000:05:00.0", link_layer="Ethernet", netdevs=("eth0",))
    (root / "proc/net").mkdir(parents=True)
    route = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    (root / "proc/net/route").write_text(f"{route}eth0 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0\n")
    plugin = start(node)
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
    two_connectx6(root_of(node))
    plugin = start(node, {**EACH, "selectors": {"ifNames": ["ib0"]}}, {**EACH, "resourceName": "rest"})
    await kubelet.wait_for(HCA, 1)
    await kubelet.wait_for("rdma/rest", 1)
    state = await wait_until(lambda: found if (found := plugin.state()) and found.excluded else None, "the clash")
    assert state.excluded[0].reason == "0000:07:00.0 (mlx5_0) is also selected by rdma/hca, which comes first"


async def test_virtual_functions(node: Node, kubelet: FakeKubelet) -> None:
    """Each is for one container; by default, it is healthy although its port is down until a pod sets it up."""
    tree = sixty_four_vfs(root_of(node))
    pool = {"resourceName": "vf", "resourcePrefix": "nvidia.com", "mode": "vf", "selectors": {"pfNames": ["ib0#0-3"]}}
    strict = {**pool, "resourceName": "strict", "selectors": {"pfNames": ["ib0#4-5"]}}
    strict["health"] = {"ports": "any", "up": 0}
    start(node, pool, strict)
    await kubelet.wait_for("nvidia.com/vf", 4)
    await kubelet.wait_until(lambda kubelet: len(kubelet.devices("nvidia.com/strict")) == 2)
    await kubelet.wait_for("nvidia.com/strict", 0)
    got = (await kubelet.admit("job", {"nvidia.com/vf": 1})).containers["main"].response
    assert got.envs["PCIDEVICE_NVIDIA_COM_VF"] == "0000:07:00.1"
    assert got.devices[0].host_path == "/dev/infiniband/uverbs1"
    tree.set_port("mlx5_5", "ACTIVE")
    await kubelet.wait_for("nvidia.com/strict", 1)


async def test_variables_are_switches(node: Node, kubelet: FakeKubelet) -> None:
    """A container gets what is switched on; missing files are left out, and the uverbs file never is."""
    tree = two_connectx6(root_of(node))
    (tree.root / "dev/infiniband/rdma_cm").unlink()
    start(node, {**EACH, "ncclIbHca": False, "ucxNetDevices": False, "nodes": ["rdma_cm"]})
    await kubelet.wait_for(HCA, 2)
    got = (await kubelet.admit("job", {HCA: 1})).containers["main"].response
    assert set(got.envs) == {"PCIDEVICE_RDMA_HCA", "PCIDEVICE_RDMA_HCA_INFO"}
    assert [node.host_path for node in got.devices] == ["/dev/infiniband/uverbs0"]


async def test_pools_that_name_the_same_interface(node: Node) -> None:
    """These pools are refused, with both names."""
    root_of(node)
    first, second = ({**EACH, "resourceName": name, "selectors": {"ifNames": [name, "ib0"]}} for name in "ab")
    plugin = start(node, first, second)
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
    """Wrong configurations are refused, with the location of the mistake."""
    root_of(node)
    plugin = start(node, pool)
    assert await plugin.exited() == Exit.USAGE
    assert words in plugin.lines("plugin not started")[0]["reason"]
