"""The hub's pod on a node: its probes, its devices, and what happens when something ends."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, Object
from tests.cluster.figures import Figures
from tests.cluster.hub import (
    DEVICES,
    NAMESPACE,
    RESOURCE,
    allocatable,
    held_by,
    hub_pods,
    run_in_hub,
    stub_process,
    wait_for_rollout,
)
from tests.cluster.kubeletview import Gap, healthy_devices
from tests.cluster.pods import create, small_pod
from tests.cluster.settings import NODE, PLUGIN_DIR
from tests.cluster.waiting import wait_until

FAULTS = Path("/run/dphub/stub-faults.yaml")

pytestmark = pytest.mark.usefixtures("overlay")


@pytest.fixture
def pod(cluster: Cluster) -> Iterator[str]:
    """Run a pod with two devices, and return its path in the API."""
    path = create(cluster, small_pod("echo $STUB_DEVICES; ls /dev/stub*; sleep infinity", {RESOURCE: "2"}))
    wait_until(lambda: _state(cluster, path)["phase"] == "Running", f"{path} to run")
    yield path
    cluster.request("DELETE", path)
    wait_until(lambda: cluster.get(path) is None, f"the end of {path}")


def test_the_pod_is_ready(cluster: Cluster, figures: Figures) -> None:
    """The probes of the pod succeed, and it has not been restarted."""
    # Another test may have deleted the pod before, or restarted the kubelet.
    wait_until(lambda: all(_is_ready(each) for each in hub_pods(cluster)), "a pod that is ready")
    (hub,) = hub_pods(cluster)
    (container,) = hub["status"]["containerStatuses"]
    assert container["restartCount"] == 0
    events = cluster.request("GET", f"/api/v1/namespaces/{NAMESPACE}/events")["items"]
    failed = [event["message"] for event in events if event["reason"] == "Unhealthy"]
    figures.add("probes", f"{len(failed)} failed until the pod was ready")
    assert "No problems found" in run_in_hub(cluster, "dphub status")


def test_a_pod_has_devices(cluster: Cluster, pod: str, figures: Figures) -> None:
    """The container has the device files and the variables of two devices, and `dphub devices` names the container."""
    log = cluster.run(f"kubectl logs {Path(pod).name}", Path("/")).split()
    ids, files = log[0].split(","), log[1:]
    assert files == sorted(f"/dev/stub{name.removeprefix('stub-')}" for name in ids)
    assert held_by(cluster, pod) == set(ids)
    created = datetime.fromisoformat(cluster.request("GET", pod)["metadata"]["creationTimestamp"])
    (container,) = _state(cluster, pod)["containerStatuses"]
    seconds = (datetime.fromisoformat(container["state"]["running"]["startedAt"]) - created).total_seconds()
    figures.add("a pod with devices", f"runs {seconds:.0f} s after it was created")


def test_a_cordon_is_seen_in_the_node(cluster: Cluster, figures: Figures) -> None:
    """The node's status lists one device fewer until the cordon ends."""
    began = time.monotonic()
    run_in_hub(cluster, "dphub cordon stub-7 --reason test")
    wait_until(lambda: allocatable(cluster) == DEVICES - 1, "one device fewer in the node's status")
    cordoned = time.monotonic()
    run_in_hub(cluster, "dphub uncordon stub-7")
    wait_until(lambda: allocatable(cluster) == DEVICES, "all devices in the node's status")
    figures.add("cordon", f"in the node's status after {cordoned - began:.1f} s, its end after {_since(cordoned)}")


def test_health_is_in_the_pods_status(cluster: Cluster, pod: str, figures: Figures) -> None:
    """The status of a pod shows that one of its devices is unhealthy, and shows when it is healthy again."""
    held = min(held_by(cluster, pod))
    began = time.monotonic()
    FAULTS.write_text(f"unhealthy:\n  {held}: the fan is loud\n")
    wait_until(lambda: _health(cluster, pod).get(held) == "Unhealthy", f"{held} as unhealthy in the pod's status")
    seen = time.monotonic()
    FAULTS.unlink()
    wait_until(lambda: _health(cluster, pod).get(held) == "Healthy", f"{held} as healthy in the pod's status")
    figures.add("health", f"in the pod's status after {seen - began:.1f} s, its recovery after {_since(seen)}")
    assert set(_health(cluster, pod).values()) == {"Healthy"}


def test_a_plugin_is_killed(cluster: Cluster, pod: str, figures: Figures) -> None:
    """A new process registers within seconds, and the pod keeps its devices."""
    old = stub_process()
    with Gap() as gap:
        old.kill()
        wait_until(lambda: stub_process().pid != old.pid and healthy_devices() == DEVICES, "the new process")
    figures.add("plugin killed", f"the kubelet lacked devices for {gap.seconds:.2f} s")
    assert _state(cluster, pod)["phase"] == "Running"
    (hub,) = hub_pods(cluster)
    assert hub["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_hubs_pod_is_deleted(cluster: Cluster, pod: str, figures: Figures) -> None:
    """The DaemonSet creates a new pod, which registers the devices; the user's pod keeps its own."""
    (old,) = hub_pods(cluster)
    with Gap() as gap:
        cluster.run(f"kubectl --namespace {NAMESPACE} delete pod {old['metadata']['name']}", Path("/"))
        wait_for_rollout(cluster)
    figures.add("pod deleted", f"the kubelet lacked devices for {gap.seconds:.2f} s")
    assert len(held_by(cluster, pod)) == 2


def test_the_kubelet_is_killed(cluster: Cluster, pod: str, figures: Figures) -> None:
    """The plugins register with the new kubelet as soon as it listens, and pods keep their devices."""
    socket = PLUGIN_DIR / "kubelet.sock"
    old = _created(socket)
    cluster.node.kubelet.kill()
    cluster.node.kubelet.start()
    wait_until(lambda: _created(socket) not in (None, old), "the socket of the new kubelet", 0.005)
    listening = time.monotonic()
    wait_until(lambda: healthy_devices() == DEVICES, "all devices", 0.02)
    figures.add("kubelet killed", f"all devices {_since(listening)} after its socket")
    wait_until(lambda: _known_pods(cluster) == 2, "the pods that the kubelet knows")
    assert _state(cluster, pod)["phase"] == "Running"
    assert len(held_by(cluster, pod)) == 2


def _created(socket: Path) -> int | None:
    try:
        return socket.stat().st_ctime_ns
    except FileNotFoundError:
        return None


def _known_pods(cluster: Cluster) -> int:
    """Return how many pods the kubelet can run commands in; it has none until it has queried the API server."""
    pods = cluster.get(f"/api/v1/nodes/{NODE}/proxy/pods")
    return len(pods["items"] or []) if pods else 0


def _is_ready(pod: Object) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))


def _state(cluster: Cluster, path: str) -> Object:
    status: Object = cluster.request("GET", path)["status"]
    return status


def _health(cluster: Cluster, path: str) -> dict[str, str]:
    """Return the health of a pod's devices, as in its status."""
    (container,) = _state(cluster, path)["containerStatuses"]
    return {
        device["resourceID"]: device["health"]
        for resource in container.get("allocatedResourcesStatus", [])
        for device in resource["resources"]
    }


def _since(moment: float) -> str:
    return f"{time.monotonic() - moment:.2f} s"
