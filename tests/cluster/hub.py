"""The hub on the node, and its manifests as a user keeps them."""

import json
import shutil
from pathlib import Path

import psutil

from tests.cluster.cluster import Cluster, Object
from tests.cluster.settings import ADDRESS, NODE
from tests.cluster.waiting import wait_until
from tests.harness.project import PROJECT

NAMESPACE = "device-plugin-hub"
RESOURCE = "example.com/stub"
DEVICES = 64
"""The number of the stub's devices here: enough for many pods that are admitted one after another."""

_OVERLAY = "container/overlays/my-cluster"
_KUSTOMIZATION = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: device-plugin-hub
resources:
  - {base}
images:
  - name: device-plugin-hub
    newTag: {tag}
configMapGenerator:
  - name: device-plugin-hub-config
    behavior: merge
    files:
      - circus.ini
      - stub.yaml
"""
_AGENT = "      - agent.yaml\n"
_BASE = "../../base"
# A component's files replace those of the kustomization that lists it, so one below the overlay lists the component.
_WITH_AGENT = f"""
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: device-plugin-hub
resources:
  - {_BASE}
components:
  - ../../components/agent
"""
# Nothing here forwards the address of the Service `kubernetes`, so the agent gets that of the API server itself.
_AGENT_SECTION = f"""
[watcher:agent]
cmd = python -m hub.agent --config agent.yaml

[env:agent]
KUBERNETES_SERVICE_HOST = {ADDRESS}
KUBERNETES_SERVICE_PORT = 6443
"""


class Overlay:
    """A user's copy of the manifests, with an overlay of their own in which the stub starts with the hub.

    Args:
        cluster: The cluster to which it is applied.
        directory: Where the copy is kept.
        agent: The text of agent.yaml; empty for no agent.
    """

    def __init__(self, cluster: Cluster, directory: Path, *, agent: str = "") -> None:
        self._cluster = cluster
        self._directory = directory
        shutil.copytree(PROJECT / "container", directory / "container")
        self._files = directory / _OVERLAY
        self._files.mkdir()
        below = self._files.with_name("with-agent")
        below.mkdir()
        (below / "kustomization.yaml").write_text(_WITH_AGENT)
        self._tag = "0.1.0"
        self._has_agent = False
        self.configure(DEVICES)
        self.configure_agent(agent)

    def configure(self, devices: int) -> None:
        """Change the configuration of the stub."""
        (self._files / "stub.yaml").write_text(stub_yaml(devices))

    def configure_agent(self, text: str) -> None:
        """Change the configuration of the agent; an empty one turns it off."""
        self._has_agent = bool(text)
        (self._files / "circus.ini").write_text(circus_ini() + (_AGENT_SECTION if text else ""))
        (self._files / "agent.yaml").write_text(text)
        self.use_image(self._tag)

    def use_image(self, tag: str) -> None:
        """Change the version of the hub."""
        self._tag = tag
        base, more = ("../with-agent", _AGENT) if self._has_agent else (_BASE, "")
        text = _KUSTOMIZATION.format(tag=json.dumps(tag), base=base) + more
        (self._files / "kustomization.yaml").write_text(text)

    def apply(self) -> None:
        """Apply the overlay; when this returns, the rollout has only begun."""
        self._cluster.run(f"kubectl apply -k {_OVERLAY}", self._directory)

    def delete(self) -> None:
        """Uninstall the hub, and wait until everything is gone."""
        self._cluster.run(f"kubectl delete -k {_OVERLAY}", self._directory)


def circus_ini() -> str:
    """Return the manifests' circus.ini, but with a stub that starts with the hub."""
    text = (PROJECT / "container/base/circus.ini").read_text()
    started = "cmd = python -m hub.plugin plugins.stub:Stub --config stub.yaml\n"
    assert f"{started}autostart = false\n" in text
    return text.replace(f"{started}autostart = false\n", started)


def stub_yaml(devices: int) -> str:
    """Return a configuration of the stub."""
    return f"resources:\n  - name: {RESOURCE}\n    devices: {devices}\n"


def wait_for_rollout(cluster: Cluster) -> None:
    """Wait as a user does, until the DaemonSet has updated all pods; then, until the old pod is gone."""
    command = f"kubectl --namespace {NAMESPACE} rollout status daemonset/device-plugin-hub --timeout=240s"
    cluster.run(command, Path("/"))
    wait_until(lambda: len(hub_pods(cluster)) == 1, "the end of the old pod")


def hub_pods(cluster: Cluster) -> list[Object]:
    """Return the hub's pods, oldest first."""
    pods = cluster.request(
        "GET", f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app.kubernetes.io/name={NAMESPACE}"
    )
    return sorted(pods["items"], key=lambda pod: pod["metadata"]["creationTimestamp"])


def run_in_hub(cluster: Cluster, command: str) -> str:
    """Run a command in the newest hub's pod, and return its output."""
    pod = hub_pods(cluster)[-1]["metadata"]["name"]
    return cluster.run(f"kubectl --namespace {NAMESPACE} exec {pod} -- {command}", Path("/"))


def held_by(cluster: Cluster, pod: str) -> set[str]:
    """Return the devices that a pod's container uses, as `dphub devices` prints them."""
    printed = [json.loads(line) for line in run_in_hub(cluster, f"dphub devices --json {RESOURCE}").splitlines()]
    return {device["id"] for device in printed if device.get("holder") == f"default/{Path(pod).name}/main"}


def allocatable(cluster: Cluster) -> int:
    """Return how many devices the node's status lists."""
    node = cluster.request("GET", f"/api/v1/nodes/{NODE}")
    return int(node["status"]["allocatable"].get(RESOURCE, 0))


def stub_process() -> psutil.Process:
    """Return the process of the stub in the hub's pod."""

    def find() -> psutil.Process | None:
        return next((process for process in psutil.process_iter() if "plugins.stub:Stub" in _words(process)), None)

    return wait_until(find, "the process of the stub")


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
