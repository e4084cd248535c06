"""The node: containerd and a kubelet."""

import json
import shutil
import subprocess
from pathlib import Path

import grpc
import psutil

from tests.cluster.controlgroups import remove
from tests.cluster.controlplane import ControlPlane
from tests.cluster.packages import NETWORK_PLUGINS, SMALL_ARCHIVE, SMALL_IMAGE
from tests.cluster.service import Service
from tests.cluster.settings import ADDRESS, HUB_ARCHIVE, NODE
from tests.cluster.waiting import wait_until

CONTAINERD = "/run/containerd/containerd.sock"
_RUNTIME_VERSION = "/runtime.v1.RuntimeService/Version"

_CONTAINERD_CONFIG = """
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  # Its profiles would be loaded into the kernel of the machine.
  disable_apparmor = true
  # A root user in a container of a developer or of CI may lack permission to lower a score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{network}"
"""
_NETWORK = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            # Pods need this route to reach the API server.
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "203.0.113.0/24"}]],
                "routes": [{"dst": f"{ADDRESS}/32"}],
            },
        }
    ],
}


class ClusterNode:
    """A node of the cluster, in whose namespaces these tests run.

    Args:
        directory: Where its files are kept.
        control_plane: The control plane that it joins.
    """

    def __init__(self, directory: Path, control_plane: ControlPlane) -> None:
        self._directory = directory
        network = directory / "network"
        network.mkdir()
        (network / "pods.conflist").write_text(json.dumps(_NETWORK))
        text = _CONTAINERD_CONFIG.format(image=SMALL_IMAGE, plugins=NETWORK_PLUGINS, network=network)
        (directory / "containerd.toml").write_text(text)
        (directory / "kubelet.json").write_text(json.dumps(_kubelet_configuration()))
        self.containerd = Service("containerd", ["containerd", "--config", directory / "containerd.toml"])
        self.kubelet = Service(
            "kubelet",
            [
                control_plane.programs / "kubelet",
                f"--config={directory}/kubelet.json",
                f"--kubeconfig={control_plane.kubeconfig('kubelet')}",
                f"--hostname-override={NODE}",
                f"--node-ip={ADDRESS}",
                # This level logs when pods arrive, and when plugins send their lists.
                "--v=2",
            ],
        )

    def start(self) -> None:
        """Start containerd and then the kubelet, as when a node boots."""
        self._start_containerd()
        self.kubelet.start()

    def import_images(self) -> None:
        """Import the images before the node is started for the first time."""
        self._start_containerd()
        for archive in (SMALL_ARCHIVE, HUB_ARCHIVE):
            self._ctr("images", "import", str(archive))
        self.containerd.kill()

    def tag_image(self, name: str, copy: str) -> None:
        """Give an image of the node a second name."""
        self._ctr("images", "tag", "--force", f"docker.io/library/{name}", f"docker.io/library/{copy}")

    def power_off(self) -> None:
        """Kill everything that is running on the node at once, and discard what a node keeps in memory."""
        self.kubelet.kill()
        self.containerd.kill()
        for shim in _shims():
            for process in (*shim.children(recursive=True), shim):
                process.kill()
        wait_until(lambda: not _shims(), "the end of all containers")
        mounted = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
        for path in reversed(mounted):
            if path.is_relative_to("/var/lib/kubelet/pods") or (path.parts[:2] == ("/", "run") and len(path.parts) > 2):
                subprocess.run(["umount", "--lazy", path], check=True)
        for path in Path("/run").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        # A kubelet would wait for the containers of each group that it finds.
        for pattern in ("kubepods", "*/kubepods"):
            for group in Path("/sys/fs/cgroup").glob(pattern):
                remove(group)

    def _start_containerd(self) -> None:
        self.containerd.start()
        wait_until(_serves_kubelets, "containerd to serve kubelets")

    def _ctr(self, *words: str) -> None:
        command = ["ctr", f"--address={CONTAINERD}", "--namespace=k8s.io", *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout


def _serves_kubelets() -> bool:
    """Return whether containerd answers kubelets; it serves its own clients earlier.

    A kubelet that is started before that exits, and there is no systemd here to restart it.
    """
    with grpc.insecure_channel(f"unix:{CONTAINERD}") as channel:
        try:
            channel.unary_unary(_RUNTIME_VERSION)(b"", timeout=5)
        except grpc.RpcError:
            return False
    return True


def _kubelet_configuration() -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        # Only this node can reach the kubelet's port.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        # Without the address of a DNS server, each pod gets a warning.
        "clusterDNS": ["198.51.100.10"],
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "resolvConf": "",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        # The node uses the machine's disk, which may be nearly full.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
    }


def _shims() -> list[psutil.Process]:
    """Return containerd's shims, the processes that each watch the containers of one pod."""
    return [
        process
        for process in psutil.process_iter(["name", "status"])
        if process.info["name"].startswith("containerd-shim") and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
