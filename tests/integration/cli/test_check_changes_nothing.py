"""`dphub check --scan` reads a node's state, and changes nothing on it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hub.base.exits import Exit
from hub.base.interpreter import inherited_environment, own_python
from tests.simulators.nvml import SimulatedNode
from tests.simulators.nvml.library import HERE as NVML
from tests.simulators.nvml.library import simulated_library
from tests.simulators.rdma.tree import RdmaTree

GPU_SETTINGS = """
version: v1
flags: {plugin: {deviceListStrategy: [cdi-cri, cdi-annotations]}, gdsEnabled: true}
sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}
"""

LO_IS_DOWN = """
import subprocess, sys
from plugins.ib.discovery.interfaces import set_up
code = subprocess.run(sys.argv[1:]).returncode
sys.exit(code or (0 if set_up("lo") else 99))
"""
"""A program that runs a check in a new network namespace, and ensures that the interface stays down there."""


def _contents(*directories: Path) -> Mapping[Path, object]:
    """Return everything in these directories, and when it was last changed, except the simulator's own files."""
    paths = [path for directory in directories for path in (directory, *directory.rglob("*"))]
    return {
        path: (path.lstat().st_mode, path.lstat().st_mtime_ns, path.lstat().st_ctime_ns, _content(path))
        for path in paths
        if "simulator" not in path.parts
    }


def _content(path: Path) -> object:
    if path.is_symlink():
        return path.readlink()
    return path.read_bytes() if path.is_file() else None


class Checked:
    """A node, and a check of a plugin on it.

    Args:
        directory: An empty directory.
    """

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.run_dir = directory / "run"
        self.config_dir = directory / "config"
        for path in (self.root, self.run_dir, self.config_dir):
            path.mkdir(mode=0o700)

    def check(self, plugin: str, config: str, *prefix: str) -> dict[str, Any]:
        """Check a plugin; fail if anything on the node is different afterwards."""
        (self.config_dir / "config.yaml").write_text(config)
        before = _contents(self.root, self.run_dir, self.config_dir)
        flags = ["--plugin", plugin, "--scan", "--json", "--host-root", str(self.root), "config.yaml"]
        environment = inherited_environment()
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        done = subprocess.run(
            [*prefix, *own_python("hub", "check", *flags)],
            cwd=self.config_dir,
            env=environment | {"DPHUB_RUN_DIR": str(self.run_dir)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, "interface" in done.stderr) == (Exit.OK, False), done
        after = _contents(self.root, self.run_dir, self.config_dir)
        assert {path.name for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == set()
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["devices"]
        return report


@pytest.fixture
def node(tmp_path: Path) -> Checked:
    """Create a node without devices."""
    return Checked(tmp_path)


def test_gpus(node: Checked) -> None:
    """No CDI file is written or removed, no MPS daemon is started, and the GPUs keep their compute mode."""
    driver = SimulatedNode(node.root, "pair")
    shutil.copy(NVML / "nvidia-cuda-mps-control", node.root / "usr/bin")
    earlier = node.root / "var/run/cdi/k8s.device-plugin.nvidia.com-earlier.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("{}")
    report = node.check("plugins.gpu:GPU", GPU_SETTINGS)
    assert (len(report["devices"]), report["problems"]) == (4, [])
    assert [driver.value(number, "compute_mode") for number in range(2)] == [0, 0]


def test_gpus_whose_driver_lacks_libraries(node: Checked) -> None:
    """Whatever keeps containers from getting their devices is still reported, if it can be found by reading alone."""
    SimulatedNode(node.root, "pair")
    directory = node.root / "usr/lib/x86_64-linux-gnu"
    for path in directory.iterdir():
        path.unlink()
    (directory / "libnvidia-ml.so.1").symlink_to(simulated_library())
    report = node.check("plugins.gpu:GPU", "version: v1\nflags: {plugin: {deviceListStrategy: cdi-cri}}")
    assert {"the CDI file contains no driver" in each["unhealthy"] for each in report["devices"]} == {True}


def test_adapters(node: Checked) -> None:
    """No CDI file and no device information file is written or removed, and no interface is brought up."""
    tree = RdmaTree(node.root)
    tree.add("mlx5_0", "0000:07:00.0", netdevs=("lo",))
    for name in (
        "cdi/rdma.device-plugin-hub-earlier.json",
        "k8s.cni.cncf.io/devinfo/dp/rdma-hca-0000:99:00.0-device.json",
    ):
        path = node.root / "var/run" / name
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    pool = {"resourceName": "hca", "mode": "hca", "bringUp": True, "selectors": {"vendors": ["15b3"]}}
    config = json.dumps({"cdi": ["annotations", "cri"], "configList": [pool]})
    new = ["unshare", "--net", "--map-root-user"]
    allowed = not subprocess.run([*new, "true"], check=False, capture_output=True).returncode
    node.check("plugins.ib:IB", config, *([*new, sys.executable, "-c", LO_IS_DOWN] if allowed else ()))


def test_the_stub(node: Checked) -> None:
    """The stub is for trials, but the rule applies to it, too."""
    node.check("plugins.stub:Stub", "resources: [{name: example.com/stub, devices: 2}]")


def test_a_third_party_plugin(node: Checked) -> None:
    """What it does in `prepare` is left out, and Python leaves no compiled code next to its files."""
    (node.config_dir / "names.py").write_text("RESOURCE = 'example.com/own'\n")
    (node.config_dir / "own.py").write_text(
        "import os, hub, names\nclass Own(hub.Plugin):\n    resource = names.RESOURCE\n"
        "    def devices(self):\n        yield hub.Device('a')\n"
        "    def prepare(self, devices):\n        os.mkdir('prepared')\n        return devices\n"
    )
    node.check("own.py:Own", "{}")
