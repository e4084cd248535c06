"""Pods of users."""

import uuid

from tests.cluster.cluster import Cluster, Object
from tests.cluster.packages import SMALL_IMAGE


def small_pod(command: str, limits: dict[str, str] | None = None, **spec: object) -> Object:
    """Return a pod that runs a shell command; the keywords are fields of its specification."""
    container = {
        "name": "main",
        "image": SMALL_IMAGE,
        "command": ["sh", "-c", command],
        "resources": {"limits": limits or {}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{uuid.uuid4().hex[:8]}"},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }


def create(cluster: Cluster, pod: Object, namespace: str = "default") -> str:
    """Create a pod, and return its path in the API."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    cluster.request("POST", pods, pod)
    return f"{pods}/{pod['metadata']['name']}"
