"""The chart, installed as docs/install.md describes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.admissions import Admissions
from tests.cluster.cluster import Cluster
from tests.cluster.figures import Figures
from tests.cluster.hub import (
    DEVICES,
    NAMESPACE,
    RESOURCE,
    allocatable,
    circus_ini,
    hub_pods,
    stub_yaml,
    wait_for_rollout,
)
from tests.cluster.kubeletview import Gap
from tests.cluster.settings import PLUGIN_DIR
from tests.cluster.waiting import wait_until
from tests.docs.pages import Page
from tests.harness.project import PROJECT

INSTALL = Page("docs/install.md")
UPGRADING = Page("docs/upgrading.md")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[None]:
    """Create the namespace as the page says, and delete it afterwards."""
    cluster.run(INSTALL.command("kubectl create namespace"), PROJECT)
    cluster.run(INSTALL.command("kubectl label namespace"), PROJECT)
    yield
    cluster.run(f"kubectl delete namespace {NAMESPACE}", PROJECT)


@pytest.mark.usefixtures("namespace")
def test_a_release(cluster: Cluster, tmp_path: Path, figures: Figures) -> None:
    """The release is installed, tested, upgraded without a failed admission, and uninstalled without a trace."""
    (tmp_path / "container").symlink_to(PROJECT / "container")
    (tmp_path / "circus.ini").write_text(circus_ini())
    (tmp_path / "stub.yaml").write_text(stub_yaml(DEVICES))
    files = "--set-file config.circusIni=circus.ini --set-file 'config.plugins.stub\\.yaml=stub.yaml'"
    began = time.monotonic()
    install = INSTALL.command("helm install").replace(" --set image.repository=REGISTRY/device-plugin-hub", "")
    cluster.run(f"{install} {files}", tmp_path)
    wait_for_rollout(cluster)
    figures.add("chart installed", f"hub ready after {time.monotonic() - began:.1f} s")
    wait_until(lambda: allocatable(cluster) == DEVICES, "the devices in the node's status")
    began = time.monotonic()
    cluster.run(INSTALL.command("helm test"), tmp_path)
    figures.add("helm test", f"passed after {time.monotonic() - began:.1f} s")
    began = time.monotonic()
    with Admissions(cluster) as admissions, Gap() as gap:
        cluster.run(f"{UPGRADING.command('helm upgrade')} --set logLevel=debug", tmp_path)
        wait_for_rollout(cluster)
    seconds = time.monotonic() - began
    figures.add("chart upgraded", f"{seconds:.0f} s: {admissions}; the kubelet lacked devices for {gap.seconds:.2f} s")
    assert admissions.failed == {}
    began = time.monotonic()
    cluster.run(INSTALL.command("helm uninstall"), tmp_path)
    wait_until(lambda: not hub_pods(cluster), "the end of the hub's pod")
    figures.add("chart uninstalled", f"pod gone after {time.monotonic() - began:.1f} s")
    _assert_nothing_is_left(cluster)


def _assert_nothing_is_left(cluster: Cluster) -> None:
    for kind in ("configmaps", "serviceaccounts", "secrets", "pods"):
        objects = cluster.request("GET", f"/api/v1/namespaces/{NAMESPACE}/{kind}")["items"]
        names = {each["metadata"]["name"] for each in objects}
        assert names <= {"kube-root-ca.crt", "default"}, kind
    assert cluster.request("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets")["items"] == []
    assert {path.name for path in PLUGIN_DIR.iterdir()} <= {"kubelet.sock", "kubelet_internal_checkpoint"}
    wait_until(lambda: allocatable(cluster) == 0, f"no {RESOURCE} in the node's status")
