"""The hub as a service of a node that is booting: the node's pods with devices run again."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from statistics import median

import pytest

from hub.base.interpreter import own_python
from hub.base.paths import KUBELET_SOCKET, RUN_DIR
from hub.cli.systemd.kubelets import KUBELETS
from hub.cli.systemd.unit import Unit
from hub.testing.plugin import environment_without_hub
from tests.cluster.cluster import Cluster
from tests.cluster.figures import Figures
from tests.cluster.hub import DEVICES, RESOURCE, allocatable, circus_ini, stub_yaml
from tests.cluster.pods import create, small_pod
from tests.cluster.settings import LOGS, PLUGIN_DIR, scratch
from tests.cluster.waiting import wait_until
from tests.harness.systemd import Service

BOOTS = 5
PODS = 4

_ADMITTED = re.compile(r'I(\d{4} [\d:.]+) .*"SyncLoop ADD" source="api"')
_LISTED = re.compile(r'I(\d{4} [\d:.]+) .*"Processed device updates for resource" .*healthyCount=[1-9]')


@pytest.fixture
def service(cluster: Cluster) -> Iterator[Service]:
    """Start the hub before the kubelet, with the unit that `dphub install-service` writes."""
    directory = scratch() / "etc"
    directory.mkdir()
    circus = directory / "circus.ini"
    circus.write_text(circus_ini())
    (directory / "stub.yaml").write_text(stub_yaml(DEVICES))
    unit = Unit(KUBELETS[0], tuple(own_python("hub")), circus, PLUGIN_DIR, RUN_DIR)
    service = Service(unit.text, LOGS / "service.log", environment=environment_without_hub() | {"DPHUB_HTTP": "off"})
    service.start()
    wait_until(lambda: allocatable(cluster) == DEVICES, "the devices in the node's status")
    yield service
    service.close()


def test_a_node_with_the_service_boots(cluster: Cluster, service: Service, figures: Figures) -> None:
    """As docs/boot.md says, none of the node's pods with devices fails: all run again."""
    paths = [create(cluster, _pod()) for _ in range(PODS)]
    known, admitted = [], []
    try:
        for path in paths:
            wait_until(lambda path=path: _starts(cluster, path) == 1, f"{path} to run")
        for boot in range(2, BOOTS + 2):
            began = _boot(cluster, service)
            for path in paths:
                wait_until(lambda path=path, boot=boot: _starts(cluster, path) == boot, f"{path} to run again")
            known.append(_logged(_LISTED, began))
            admitted.append(_logged(_ADMITTED, began))
    finally:
        for path in paths:
            cluster.request("DELETE", path)
    figures.add("service boots", f"0 of {BOOTS * PODS} pods with devices failed")
    for what, times in (("has all devices", known), ("admits pods", admitted)):
        figures.add("", f"the kubelet {what} {median(times):.3f} s ({max(times):.3f}) after its socket")


def _boot(cluster: Cluster, service: Service) -> float:
    """Switch the node off and on, and return when the kubelet created its socket."""
    cluster.node.power_off()
    service.kill()
    before = time.time()
    service.start()
    cluster.node.start()
    socket = PLUGIN_DIR / KUBELET_SOCKET
    wait_until(lambda: socket.exists() and socket.stat().st_ctime > before, "the kubelet's socket")
    return socket.stat().st_ctime


def _pod() -> dict[str, object]:
    return small_pod("sleep infinity", {RESOURCE: "1"}, restartPolicy="Always")


def _starts(cluster: Cluster, path: str) -> int:
    """Return how often a pod's container has started, if it runs."""
    status = cluster.request("GET", path)["status"]
    assert status["phase"] != "Failed", status
    return sum(1 + each["restartCount"] for each in status.get("containerStatuses", ()) if "running" in each["state"])


def _logged(pattern: re.Pattern[str], began: float) -> float:
    """Return how long after a time the kubelet logged a line."""
    year = datetime.fromtimestamp(began, UTC).year
    lines = (LOGS / "kubelet.log").read_text(errors="replace").splitlines()
    times = (f"{year}{found[1]}" for line in lines if (found := pattern.match(line)))
    seconds = (datetime.strptime(each, "%Y%m%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp() for each in times)
    return next(each for each in seconds if each > began) - began
