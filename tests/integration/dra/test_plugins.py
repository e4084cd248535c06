"""Each plugin of the hub serves dynamic resource allocation as it serves the device plugin API."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.testing.dra import ClaimPod, ClaimUse
from hub.testing.plugin import PluginProcess
from hub.testing.waiting import wait_until
from tests.docs.pages import TUTORIAL
from tests.harness.claimnode import CONTAINER, NODE, ClaimNode, claim_node
from tests.simulators.generictree import GenericTree
from tests.simulators.nvml import SimulatedNode
from tests.simulators.rdma.tree import hcas_near_gpus, two_connectx6

SERIAL, HCA, GPU = "example.com/serial", "rdma/hca", "nvidia.com/gpu"
PCI_ROOT = "resource.kubernetes.io/pcieRoot"
QUICK = "dphub: {health: {interval: 0.1, stable_for: 0}}"


@pytest.fixture
async def node() -> AsyncIterator[ClaimNode]:
    """Run a node without plugins."""
    async with claim_node() as node:
        yield node


def _program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_generic_devices_are_given_by_claims(node: ClaimNode) -> None:
    """A pod gets the file and the variables of its adapter; one that fails its check has a taint until it passes."""
    tree = GenericTree(node.root)
    tree.part(tree.usb("1-1", serial="A7", numa=1), "ttyUSB0", "tty")
    broken = node.directory / "broken"
    check = _program(node.directory / "check", f"test ! -e {broken}")
    health = {"command": [check], "interval": 0.1}
    resource = {"name": SERIAL, "files": ["/dev/ttyUSB*"], "env": {"PORT": "{path}"}, "health": health}
    settings = {"scan_interval": 3600, "resources": [resource]}
    node.start_driver("plugins.generic:Generic", "generic", config=json.dumps(settings))
    ((name, device),) = (await node.published("generic", 1)).items()
    attributes = device["attributes"]
    assert attributes["resource"] == {"string": SERIAL}
    assert attributes["id"] == {"string": "1-1:1.0-ttyUSB"}
    assert attributes["serial"] == {"string": "A7"}
    assert attributes["resource.kubernetes.io/numaNode"] == {"int": 1}

    pod, given = await node.run("generic", SERIAL, "port")
    assert (given.nodes, given.env) == (["/dev/ttyUSB0"], {"PORT": "/dev/ttyUSB0"})

    broken.touch()
    await node.tainted("generic", {name: [("unhealthy", "plugin")]})
    await _unhealthy(node, pod, "check failed (exit code 1): no output")
    broken.unlink()
    await node.tainted("generic", {})
    await node.end(pod)
    assert node.cdi_files == []


async def _unhealthy(node: ClaimNode, pod: ClaimPod, reason: str) -> None:
    """Wait until the health in a pod's status has this reason."""
    seen = ""
    while reason not in seen:
        health = await node.kubelet.health(pod)
        seen = " ".join(each.message for found in health[CONTAINER].values() for each in found)


async def test_hcas_are_given_by_claims(node: ClaimNode) -> None:
    """Two HCAs of one request share one response, as for a container; a port that is down causes a taint."""
    tree = two_connectx6(node.root)
    settings = {"configList": [{"resourceName": "hca", "mode": "hca", "selectors": {"vendors": ["15b3"]}}]}
    node.start_driver("plugins.ib:IB", "ib", config=json.dumps(settings))
    devices = await node.published("ib", 2)
    attributes = [each["attributes"] for each in devices.values()]
    assert [each["id"]["string"] for each in attributes] == ["0000:07:00.0", "0000:87:00.0"]
    assert [each["resource.kubernetes.io/pciBusID"]["string"] for each in attributes] == [
        "0000:07:00.0",
        "0000:87:00.0",
    ]
    assert [each[PCI_ROOT]["string"] for each in attributes] == ["pci0000:00", "pci0000:80"]
    assert [each["resource.kubernetes.io/numaNode"]["int"] for each in attributes] == [0, 1]
    assert [each["name"]["string"] for each in attributes] == ["mlx5_0", "mlx5_1"]

    pod, given = await node.run("ib", HCA, "network", count=2)
    assert [each.removeprefix("/dev/infiniband/") for each in given.nodes] == [
        *("uverbs0", "umad0", "rdma_cm", "uverbs1", "umad2")
    ]
    assert given.env["NCCL_IB_HCA"] == "mlx5_0,mlx5_1"
    assert given.env["PCIDEVICE_RDMA_HCA"] == "0000:07:00.0,0000:87:00.0"
    await node.end(pod)

    first = next(iter(devices))
    tree.set_port("mlx5_0", "DOWN")
    await node.tainted("ib", {first: [("unhealthy", "plugin")]})
    pod, given = await node.run("ib", HCA, "other")
    assert given.env["NCCL_IB_HCA"] == "mlx5_1"
    tree.set_port("mlx5_0", "ACTIVE")
    await node.tainted("ib", {})


def _start_gpus(node: ClaimNode, driver: SimulatedNode, config: str = QUICK) -> PluginProcess:
    return node.start_driver("plugins.gpu:GPU", "gpu", config=config, env=driver.environment)


async def test_gpus_are_given_by_claims(node: ClaimNode) -> None:
    """A pod gets the variables and files of its GPUs; one with an error has a taint until it has recovered."""
    driver = SimulatedNode(node.root, "pair")
    config = f"{{version: v1, flags: {{plugin: {{passDeviceSpecs: true}}}}, {QUICK}}}"
    _start_gpus(node, driver, config)
    devices = await node.published("gpu", 2)
    (first, second) = driver.gpus
    attributes = list(devices.values())[1]["attributes"]
    assert attributes["id"] == {"string": second.uuid}
    assert attributes["model"] == {"string": second.name}
    assert attributes["resource.kubernetes.io/pciBusID"] == {"string": second.pci}
    assert attributes["resource.kubernetes.io/numaNode"] == {"int": second.numa}

    pod, given = await node.run("gpu", GPU, "one")
    assert given.env["NVIDIA_VISIBLE_DEVICES"] == first.uuid
    assert f"/dev/nvidia{first.minor}" in given.nodes

    driver.xid(0, 94)
    driver.set(0, recovery=1)
    await node.tainted("gpu", {next(iter(devices)): [("unhealthy", "plugin")]})
    await _unhealthy(node, pod, "XID 94")
    driver.repair(0)
    await node.tainted("gpu", {})
    await node.end(pod)


async def test_gpus_by_cdi_names_come_with_the_names(node: ClaimNode) -> None:
    """The `cdi-cri` strategy works with claims too: the runtime gets the names of the GPUs and of the claim."""
    driver = SimulatedNode(node.root, "pair")
    _start_gpus(node, driver, f"{{version: v1, flags: {{plugin: {{deviceListStrategy: cdi-cri}}}}, {QUICK}}}")
    await node.published("gpu", 2)
    _, given = await node.run("gpu", GPU, "both", count=2)
    assert given.names == [f"k8s.device-plugin.nvidia.com/gpu={gpu.uuid}" for gpu in driver.gpus]


async def test_mig_devices_are_given_by_claims(node: ClaimNode) -> None:
    """A MIG device belongs to the resource of its profile, and has the location of its GPU."""
    driver = SimulatedNode(node.root, "a100x2", mig={0: "mixed"})
    config = f"{{version: v1, flags: {{migStrategy: mixed}}, {QUICK}}}"
    _start_gpus(node, driver, config)
    devices = await node.published("gpu", 5)
    found = [each["attributes"]["resource"]["string"] for each in devices.values()]
    assert "nvidia.com/mig-3g.20gb" in found
    _, given = await node.run("gpu", "nvidia.com/mig-3g.20gb", "slice")
    assert given.env["NVIDIA_VISIBLE_DEVICES"] == driver.gpus[0].migs[0].uuid


async def test_a_gpu_and_an_hca_below_one_root(node: ClaimNode) -> None:
    """A claim can request devices of two plugins with the same PCI root complex."""
    driver = SimulatedNode(node.root, "switch8")
    tree = hcas_near_gpus(node.root, driver.gpus)
    pool = {"resourceName": "hca", "mode": "hca", "selectors": {"vendors": ["15b3"]}}
    node.start_driver("plugins.ib:IB", "ib", config=json.dumps({"configList": [pool]}))
    _start_gpus(node, driver)
    gpus, hcas = await node.published("gpu", 8), await node.published("ib", 8)
    taken, _ = await node.run("ib", HCA, "others", count=4)
    assert len(node.allocated("others")) == 4

    requests = {"gpu": {"plugin": "gpu", "resource": GPU}, "hca": {"plugin": "ib", "resource": HCA}}
    node.claim("both", requests, constraints=[{"matchAttribute": PCI_ROOT}])
    given = await node.start_pod(node.schedule("both"))
    gpu, hca = node.allocated("both")
    assert gpus[gpu]["attributes"][PCI_ROOT] == hcas[hca]["attributes"][PCI_ROOT]
    assert {"NVIDIA_VISIBLE_DEVICES", "NCCL_IB_HCA"} <= given.env.keys()
    assert given.env["NCCL_IB_HCA"] in tree.names
    await node.end(taken)


async def test_pods_run_unchanged_by_the_name_of_the_resource(node: ClaimNode) -> None:
    """A class with the extended resource name serves pods that request a number of it, as before."""
    driver = SimulatedNode(node.root, "pair")
    _start_gpus(node, driver)
    await node.published("gpu", 2)
    pod, _ = await node.run("gpu", GPU, "first")  # this also creates the class
    claim = node.scheduler.extend("job", {CONTAINER: {GPU: 1}}, NODE)
    assert claim is not None
    node.scheduler.reserve(claim.name, "job", "uid-of-job")
    requests = [each.request for each in claim.mappings]
    job = ClaimPod("job", "uid-of-job", {"e": claim.name}, {CONTAINER: [ClaimUse("e", each) for each in requests]})
    given = await node.start_pod(job)
    assert given.env["NVIDIA_VISIBLE_DEVICES"] == driver.gpus[1].uuid
    await node.end(job)
    await node.end(pod)


async def test_the_plugin_of_the_tutorial_serves_both_apis(node: ClaimNode) -> None:
    """The plugin's code is unchanged, and a container gets the same from both."""
    for number in range(3):
        (node.root / f"dev/ttyUSB{number}").parent.mkdir(exist_ok=True)
        (node.root / f"dev/ttyUSB{number}").touch()
    module = node.directory / "serial_adapters.py"
    module.write_text(TUTORIAL.versions("serial_adapters.py")[0])
    target = f"{module}:Serial"

    before = node.start_plugin(target, name="serial", env={"DPHUB_HOST_ROOT": str(node.root)})
    await node.kubelet.wait_for(SERIAL, 3)
    old = (await node.kubelet.admit("reader", {SERIAL: 1})).containers[CONTAINER].response
    await node.kubelet.remove("reader")
    assert await before.stop() == 0

    node.start_driver(target, "serial")
    assert list(await node.published("serial", 3)) != []
    pod, given = await node.run("serial", SERIAL, "reader")
    assert given.nodes == [each.container_path for each in old.devices]
    assert given.env == dict(old.envs)
    await node.end(pod)
    await wait_until(lambda: not node.cdi_files, "no CDI file")
