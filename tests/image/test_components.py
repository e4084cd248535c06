"""The mounts of the components for AMD GPUs, Intel GPUs, udev and labels, and what fails without each.

Each test runs the pod with the mount and without it. The node's devices are simulated.
"""

import os
import stat
from pathlib import Path

import pytest

from hub.testing.kubelet import FakeKubelet
from hub.testing.waiting import wait_until
from plugins.amd.settings import HealthRules
from tests.image.manifest import component, pod_of, without_volume
from tests.image.pod import GRACE, Pod, StartPod
from tests.simulators.amdexporter import SimulatedExporter
from tests.simulators.amdtree import AmdTree
from tests.simulators.generictree import GenericTree
from tests.simulators.inteltree import two_flex
from tests.simulators.xpumd import Severity, Xpumd

EXPORTER = HealthRules().exporter
XPUMD = "/run/xpumd/intelxpuinfo.sock"
BAD, GOOD = "0000:4d:00.0", "0000:b7:00.0"


@pytest.fixture
def host(node: Path) -> Path:
    """Return a node's file system without devices."""
    root = node / "host"
    (root / "dev/shm").mkdir(parents=True)
    for name, number in {"null": (1, 3), "zero": (1, 5), "urandom": (1, 9)}.items():
        os.mknod(root / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(*number))
    (node / "config").mkdir()
    return root


def _start(start_pod: StartPod, host: Path, name: str, *, plugin: str, settings: str, without: str) -> Pod:
    """Start the pod with a component, which runs one plugin.

    Args:
        start_pod: The function that starts it.
        host: The node's file system.
        name: The component.
        plugin: The module and class of the plugin.
        settings: The text of its configuration file.
        without: The volume to remove; empty for none.
    """
    config = host.parent / "config"
    (config / "own.yaml").write_text(settings)
    (config / "circus.ini").write_text(f"[watcher:own]\ncmd = python -m hub.plugin {plugin} --config own.yaml\n")
    manifest = component(name)
    without_volume(manifest, without)
    return start_pod(pod_of(manifest, host))


@pytest.mark.parametrize("without", ["", "amd-exporter"])
async def test_the_exporter_is_asked_on_its_socket(host: Path, start_pod: StartPod, without: str) -> None:
    """With the mount, a GPU that the exporter reports is not allocated; without it, the pod lacks the socket."""
    tree = AmdTree(host)
    tree.add(BAD)
    tree.add(GOOD)
    exporter = SimulatedExporter(host / EXPORTER[1:])
    exporter.states = {BAD: "unhealthy", GOOD: "healthy"}
    settings = "health: {interval: 1, unhealthy_after: 0}"
    async with FakeKubelet(host / "var/lib/kubelet/device-plugins") as kubelet:
        with exporter.running():
            pod = _start(start_pod, host, "amd-exporter", plugin="plugins.amd:AMD", settings=settings, without=without)
            await kubelet.wait_for("amd.com/gpu", 2 if without else 1, GRACE)
            assert (await pod.exec("test", "-S", EXPORTER))[0] == (1 if without else 0)


@pytest.mark.parametrize("without", ["", "xpumd"])
async def test_xpumd_is_asked_on_its_socket(host: Path, start_pod: StartPod, without: str) -> None:
    """With the mount, a GPU that xpumd reports is not allocated; without it, the pod lacks the socket."""
    two_flex(host)
    settings = f"xpumd-endpoint: {XPUMD}"
    async with FakeKubelet(host / "var/lib/kubelet/device-plugins") as kubelet, Xpumd(host / XPUMD[1:]) as xpumd:
        await xpumd.report({BAD: [("memory", Severity.FAILED, "EccErrors")], GOOD: [("memory", Severity.OK, "ok")]})
        pod = _start(start_pod, host, "xpumd", plugin="plugins.intel:Intel", settings=settings, without=without)
        await kubelet.wait_for("gpu.intel.com/i915", 2 if without else 1, GRACE)
        assert (await pod.exec("test", "-S", XPUMD))[0] == (1 if without else 0)


@pytest.mark.parametrize("without", ["", "udev"])
async def test_udev_knows_the_properties_of_devices(host: Path, start_pod: StartPod, without: str) -> None:
    """With the mount, a device is selected by a property that udev has recorded; without the mount, none is found."""
    tree = GenericTree(host)
    device = tree.part(tree.usb("1-1", number=2), "ttyUSB0", "tty")
    tree.udev(device, "c188:0", ID_MODEL="Modem")
    settings = "resources: [{name: example.com/x, sysfs: [{subsystem: tty, properties: {ID_MODEL: Modem}}]}]"
    async with FakeKubelet(host / "var/lib/kubelet/device-plugins") as kubelet:
        _start(start_pod, host, "udev", plugin="plugins.generic:Generic", settings=settings, without=without)
        await kubelet.wait_for("example.com/x", 0 if without else 1, GRACE)


@pytest.mark.parametrize("without", ["", "features"])
async def test_labels_of_the_node_need_their_directory(host: Path, start_pod: StartPod, without: str) -> None:
    """With the mount, the node has the file; without it, the log names the mount, but the devices are still served."""
    settings = "{resources: [{name: example.com/x}], labels: {example.com/model: x1}}"
    async with FakeKubelet(host / "var/lib/kubelet/device-plugins") as kubelet:
        pod = _start(start_pod, host, "node-labels", plugin="plugins.stub:Stub", settings=settings, without=without)
        await kubelet.wait_for("example.com/x", 4, GRACE)
        if without:
            missing = "does not exist: create it, or in a pod mount the node's"
            await wait_until(lambda: missing in pod.log, "the log event", GRACE)
        else:
            file = host / "etc/kubernetes/node-feature-discovery/features.d/dphub-own"
            text = await wait_until(lambda: file.exists() and file.read_text(), "the file with the labels")
            assert "example.com/model=x1" in text
