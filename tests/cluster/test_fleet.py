"""`kubectl dphub` with a real API server, as a user who has only the permissions that docs/fleet.md names."""

import json
import time
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.figures import Figures
from tests.cluster.hub import DEVICES, NAMESPACE
from tests.cluster.settings import NODE
from tests.docs.pages import Page

PAGE = Page("docs/fleet.md")

pytestmark = pytest.mark.usefixtures("overlay")


def test_a_viewer_sees_all_devices(cluster: Cluster, figures: Figures, tmp_path: Path) -> None:
    """With the page's Role and its binding, the user sees all devices; without it, the error names what is missing."""
    viewer = cluster.kubeconfig("viewer")
    denied = cluster.run(f"kubectl dphub devices --kubeconfig {viewer} 2>&1 || true", tmp_path)
    assert f"you lack permission to list pods in the namespace {NAMESPACE}" in denied
    (role,) = PAGE.of("yaml")
    (tmp_path / "role.yaml").write_text(role)
    cluster.run("kubectl apply --filename role.yaml", tmp_path)
    cluster.run(PAGE.command("kubectl --namespace device-plugin-hub create rolebinding "), tmp_path)
    began = time.monotonic()
    lines = cluster.run(f"kubectl dphub devices --json --kubeconfig {viewer}", tmp_path).splitlines()
    figures.add("kubectl dphub devices", f"took {time.monotonic() - began:.1f} s")
    found = [json.loads(line) for line in lines]
    assert {device["node"] for device in found} == {NODE}
    assert len(found) == DEVICES


def test_a_cordon_through_the_pod(cluster: Cluster) -> None:
    """The command reaches the hub in the pod on the given node."""
    assert "cordoned" in cluster.run(f"kubectl dphub cordon {NODE} stub-9 --reason test", Path("/"))
    shown = cluster.run("kubectl dphub devices --health cordoned --json", Path("/"))
    cluster.run(f"kubectl dphub uncordon {NODE} stub-9", Path("/"))
    assert [json.loads(line)["id"] for line in shown.splitlines()] == ["stub-9"]
