"""CDI for RDMA devices."""

import json
from pathlib import Path

from hub.testing.kubelet import FakeKubelet
from tests.harness.node import Node
from tests.simulators.rdma.tree import two_connectx6

HCA = "rdma/hca"
VENDOR = "rdma.device-plugin-hub"


async def test_names_instead_of_files(node: Node, kubelet: FakeKubelet) -> None:
    """Names and files can be used at once; the CDI file is removed with the devices, and other files stay."""
    tree = two_connectx6(node.directory / "root")
    directory = tree.root / "var/run/cdi"
    directory.mkdir(parents=True)
    for name in (f"{VENDOR}-rdma-rdma-old.json", "nvidia.com-net.json"):
        (directory / name).write_text("{}")
    pool = {"resourceName": "hca", "mode": "hca", "selectors": {"vendors": ["15b3"]}}
    config = json.dumps({"cdi": ["annotations", "cri"], "configList": [pool]})
    node.start_plugin("plugins.ib:IB", name="ib", config=config, env={"DPHUB_HOST_ROOT": str(tree.root)})
    await kubelet.wait_for(HCA, 2)
    got = (await kubelet.admit("job", {HCA: 1})).containers["main"].response
    name = f"{VENDOR}/rdma-rdma-hca=0000:07:00.0"
    assert (got.cdi_devices, list(got.annotations.values()), got.devices) == ((name,), [name], ())
    assert got.envs["NCCL_IB_HCA"] == "mlx5_0"
    spec = json.loads((directory / f"{VENDOR}-rdma-rdma-hca.json").read_text())
    assert spec["kind"] == f"{VENDOR}/rdma-rdma-hca"
    assert [node["path"] for node in spec["devices"][0]["containerEdits"]["deviceNodes"]] == [
        f"/dev/infiniband/{file}" for file in ("uverbs0", "umad0", "rdma_cm")
    ]
    assert _names(directory) == ["nvidia.com-net.json", f"{VENDOR}-rdma-rdma-hca.json"]
    tree.remove("mlx5_0")
    tree.remove("mlx5_1")
    await kubelet.wait_until(lambda kubelet: not any(device.healthy for device in kubelet.devices(HCA)))
    assert _names(directory) == ["nvidia.com-net.json"]


async def test_a_file_that_cannot_be_written(node: Node, kubelet: FakeKubelet) -> None:
    """No container could use the names, so no device is healthy, and the reason says so."""
    tree = two_connectx6(node.directory / "root")
    (tree.root / "var/run").mkdir(parents=True)
    (tree.root / "var/run/cdi").write_text("in the way")
    plugin = node.start_plugin("plugins.ib:IB", name="ib", config="cdi: [cri]", env={"DPHUB_HOST_ROOT": str(tree.root)})
    await kubelet.wait_for(HCA, 0)
    await plugin.resource_until(
        lambda state: bool(state.devices) and "the CDI file cannot be written" in state.devices[0].reason, HCA
    )


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())
