"""A node that is switched off and boots, with pods on it that have devices."""

import time

import pytest

from tests.cluster.cluster import Cluster, Object
from tests.cluster.figures import Figures
from tests.cluster.hub import DEVICES, RESOURCE, wait_for_rollout
from tests.cluster.kubeletview import healthy_devices
from tests.cluster.pods import create, small_pod
from tests.cluster.waiting import wait_until

PODS = 3
_DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
_REPLICAS = "/api/v1/namespaces/default/pods?labelSelector=app=boot"


@pytest.mark.usefixtures("overlay")
def test_a_node_boots(cluster: Cluster, figures: Figures) -> None:
    """As docs/upgrading.md says, pods with devices fail for good; those of a controller are replaced and run again."""
    paths = [create(cluster, _pod()) for _ in range(PODS)]
    cluster.request("POST", _DEPLOYMENTS, _deployment())
    try:
        for path in paths:
            wait_until(lambda path=path: _phase(cluster, path) == "Running", f"{path} to run")
        wait_until(lambda: _available(cluster), "the pod of the Deployment")
        (before,) = [pod["metadata"]["uid"] for pod in cluster.request("GET", _REPLICAS)["items"]]
        cluster.node.power_off()
        began = time.monotonic()
        cluster.node.start()
        wait_until(lambda: healthy_devices() == DEVICES, "all devices after the boot")
        figures.add(
            "node boots", f"the kubelet has all devices {time.monotonic() - began:.1f} s after containerd's start"
        )
        for path in paths:
            wait_until(lambda path=path: _phase(cluster, path) == "Failed", f"{path} to fail")
        reasons = [cluster.request("GET", path)["status"]["reason"] for path in paths]
        figures.add("", f"{len(reasons)} of {PODS} pods with devices failed ({', '.join(sorted(set(reasons)))})")
        assert set(reasons) == {"UnexpectedAdmissionError"}
        wait_until(
            lambda: _available(cluster) and before not in _running(cluster), "the pod in place of the failed one"
        )
        wait_for_rollout(cluster)
    finally:
        cluster.request("DELETE", f"{_DEPLOYMENTS}/boot")
        for path in paths:
            cluster.request("DELETE", path)


def _pod() -> Object:
    return small_pod("sleep infinity", {RESOURCE: "1"}, restartPolicy="Always")


def _deployment() -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "boot"},
        "spec": {
            "selector": {"matchLabels": {"app": "boot"}},
            "template": {
                "metadata": {"labels": {"app": "boot"}},
                "spec": _pod()["spec"],
            },
        },
    }


def _phase(cluster: Cluster, path: str) -> str:
    phase: str = cluster.request("GET", path)["status"].get("phase", "")
    return phase


def _available(cluster: Cluster) -> bool:
    return bool(cluster.request("GET", f"{_DEPLOYMENTS}/boot")["status"].get("availableReplicas"))


def _running(cluster: Cluster) -> set[str]:
    pods = cluster.request("GET", _REPLICAS)["items"]
    return {pod["metadata"]["uid"] for pod in pods if pod["status"]["phase"] == "Running"}
