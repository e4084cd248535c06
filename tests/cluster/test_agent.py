"""The agent on a real cluster: conditions, events, cordons, the startup taint, and what its token allows."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.agentaccess import AgentAccess, check_another_node, check_own_node
from tests.cluster.cluster import Cluster, Object
from tests.cluster.figures import Figures
from tests.cluster.hub import DEVICES, NAMESPACE, RESOURCE, Overlay, allocatable, held_by, hub_pods, wait_for_rollout
from tests.cluster.pods import create, small_pod
from tests.cluster.settings import NODE
from tests.cluster.waiting import wait_until

FAULTS = Path("/run/dphub/stub-faults.yaml")
CONDITION = "StubDevicesHealthy"
TAINT = "dphub.dev/devices"
SETTINGS = f"startup_taint: {TAINT}\n"
OTHER = "node-2"

pytestmark = pytest.mark.usefixtures("agent")


@pytest.fixture(scope="module")
def agent(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, figures_of_module: Figures) -> Iterator[Overlay]:
    """Install the hub with the agent on a node with the startup taint, and uninstall it after the tests."""
    cluster.run(f"kubectl taint node {NODE} {TAINT}=pending:NoSchedule", Path("/"))
    overlay = Overlay(cluster, tmp_path_factory.mktemp("checkout"), agent=SETTINGS)
    began = time.monotonic()
    overlay.apply()
    try:
        wait_for_rollout(cluster)
        wait_until(lambda: not _node(cluster)["spec"].get("taints"), "the end of the startup taint")
        assert allocatable(cluster) == DEVICES
        figures_of_module.add("startup taint", f"gone {time.monotonic() - began:.1f} s after the overlay was applied")
        yield overlay
    finally:
        overlay.delete()


@pytest.fixture(scope="module")
def figures_of_module() -> Figures:
    """Return where the fixture writes what it measured."""
    from tests.cluster.figures import FIGURES  # noqa: PLC0415 - the other fixture has the scope of a test

    return FIGURES


def _node(cluster: Cluster) -> Object:
    return cluster.request("GET", f"/api/v1/nodes/{NODE}")


def _condition(cluster: Cluster) -> str:
    found = {each["type"]: each["status"] for each in _node(cluster)["status"]["conditions"]}
    return found.get(CONDITION, "")


def _events(cluster: Cluster, kind: str, reason: str) -> list[Object]:
    events = cluster.request("GET", "/apis/events.k8s.io/v1/events")["items"]
    return [each for each in events if each["regarding"]["kind"] == kind and each["reason"] == reason]


def test_a_broken_device(cluster: Cluster, figures: Figures) -> None:
    """Within seconds, a broken device causes a condition and an event on the node, and an event on the pod using it."""
    path = create(cluster, small_pod("sleep infinity", {RESOURCE: "1"}))
    wait_until(lambda: cluster.request("GET", path)["status"]["phase"] == "Running", f"{path} to run")
    wait_until(lambda: _condition(cluster) == "True", "the condition")
    device = wait_until(lambda: min(held_by(cluster, path), default=""), "the pod's device")
    began = time.monotonic()
    FAULTS.write_text(f"unhealthy:\n  {device}: the fan is loud\n")
    wait_until(lambda: _condition(cluster) == "False", "the condition of a broken device")
    condition = time.monotonic() - began
    wait_until(lambda: _events(cluster, "Node", "DeviceUnhealthy"), "the event on the node")
    node = time.monotonic() - began
    wait_until(lambda: _events(cluster, "Pod", "DeviceUnhealthy"), "the event on the pod")
    pod = time.monotonic() - began
    figures.add("broken device", f"condition {condition:.1f} s, event on node {node:.1f} s, on pod {pod:.1f} s")
    described = cluster.run(f"kubectl describe node {NODE}", Path("/"))
    assert "DphubDevicesUnhealthy" in described
    assert "the fan is loud" in described
    assert "the fan is loud" in cluster.run(f"kubectl describe pod {Path(path).name}", Path("/"))
    FAULTS.unlink()
    wait_until(lambda: _condition(cluster) == "True", "the condition of the recovered device")
    wait_until(lambda: _events(cluster, "Node", "DeviceHealthy"), "the event of the recovery")
    cluster.request("DELETE", path)
    wait_until(lambda: cluster.get(path) is None, f"the end of {path}")


def test_an_annotation_cordons(cluster: Cluster, figures: Figures) -> None:
    """The node's status lists one device fewer until the annotation no longer names that device."""
    began = time.monotonic()
    cluster.run(f"kubectl annotate node {NODE} dphub.dev/cordon=stub-7", Path("/"))
    wait_until(lambda: allocatable(cluster) == DEVICES - 1, "one device fewer in the node's status")
    wait_until(lambda: _node(cluster)["metadata"]["annotations"].get("dphub.dev/cordoned") == "stub-7", "the list")
    figures.add("cordon by annotation", f"in the node's status after {time.monotonic() - began:.1f} s")
    cluster.run(f"kubectl annotate node {NODE} dphub.dev/cordon-", Path("/"))
    wait_until(lambda: allocatable(cluster) == DEVICES, "all devices in the node's status")


@pytest.fixture
def access(cluster: Cluster) -> Iterator[AgentAccess]:
    """Yield the access of the agent's token, with a second node in the cluster."""
    cluster.request("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": OTHER}})
    yield AgentAccess(cluster.request, NAMESPACE, "device-plugin-hub", hub_pods(cluster)[-1])
    cluster.request("DELETE", f"/api/v1/nodes/{OTHER}")


def test_the_token_cannot_change_another_node(access: AgentAccess) -> None:
    """The token cannot change the conditions or annotations of another node, or write events about it."""
    check_another_node(access, NODE, OTHER)


def test_the_token_changes_nothing_else(access: AgentAccess) -> None:
    """On its own node, it cannot change labels, taints, capacity, other annotations, or other programs' conditions."""
    check_own_node(access, NODE)


def test_turned_off_it_leaves_nothing(cluster: Cluster, agent: Overlay) -> None:
    """The next pod has no agent, and the old agent removes its conditions and its annotation when it stops."""
    agent.configure_agent("")
    agent.apply()
    wait_for_rollout(cluster)
    wait_until(lambda: not _condition(cluster), "the end of the condition")
    assert "dphub.dev/cordoned" not in _node(cluster)["metadata"]["annotations"]
    # The tests run in any order, so the agent must be back for the others.
    agent.configure_agent(SETTINGS)
    agent.apply()
    wait_for_rollout(cluster)
