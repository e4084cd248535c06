"""Cordons by the node's annotation, and the list of all cordons."""

from tests.integration.agent.agentnode import AgentNode
from tests.simulators.apiserver import FakeApiServer

RESOURCE = "example.com/stub"
LIST = "dphub.dev/cordoned"


async def _allocatable(node: AgentNode, count: int) -> None:
    await node.kubelet.wait_for(RESOURCE, count, timeout=120)


async def _listed(node: AgentNode, devices: str) -> None:
    await node.wait(lambda: node.api.annotations.get(LIST, "") == devices, f"{LIST} {devices}")


async def test_the_annotation_cordons_and_releases(node: AgentNode, api: FakeApiServer) -> None:
    """Devices that the annotation names are not allocated until it no longer names them."""
    api.annotate(cordon="stub-1, stub-2")
    await node.start_hub()
    await _allocatable(node, 2)
    await _listed(node, "stub-1,stub-2")
    assert "dphub.dev/cordon" in (await node.dphub("status")).out
    api.annotate(cordon="stub-2")
    await _allocatable(node, 3)
    await _listed(node, "stub-2")
    api.annotate(cordon=None)
    await _allocatable(node, 4)
    await node.wait(lambda: LIST not in api.annotations, "the end of the list")


async def test_a_cordon_on_the_node_is_independent(node: AgentNode, api: FakeApiServer) -> None:
    """The annotation does not release what an administrator has cordoned on the node; the list has both."""
    await node.start_hub()
    await _allocatable(node, 4)
    await node.dphub("cordon", "stub-0", "--reason", "the fan is loud")
    api.annotate(cordon="stub-0,stub-1")
    await _allocatable(node, 2)
    await _listed(node, "stub-0,stub-1")
    api.annotate(cordon="")
    await _allocatable(node, 3)
    await _listed(node, "stub-0")
    await node.dphub("uncordon", "stub-0")
    await _allocatable(node, 4)


async def test_a_name_without_a_device_is_an_event(node: AgentNode, api: FakeApiServer) -> None:
    """The author of the annotation gets one event; the other devices in the annotation are cordoned."""
    await node.start_hub()
    await _allocatable(node, 4)
    api.annotate(cordon="stub-1,stub-9")
    await _allocatable(node, 3)
    await node.wait(lambda: api.events_about("Node"), "the event")
    (event,) = api.events_about("Node")
    assert event["reason"] == "CordonFailed"
    assert event["eventTime"] > "2026"
    assert "there is no device stub-9" in event["note"]
    assert len(node.logged("cordon failed")) == 1


async def test_a_cordon_outlives_an_outage_and_restarts(node: AgentNode, api: FakeApiServer) -> None:
    """While the API server is unavailable, the last known cordons persist, even for a new agent and a new plugin."""
    api.annotate(cordon="stub-1")
    await node.start_hub()
    await _allocatable(node, 3)
    await api.stop()
    await node.dphub("restart", "agent")
    await node.dphub("restart", "stub")
    await _allocatable(node, 3)
    await api.start()
    api.annotate(cordon=None)
    await _allocatable(node, 4)
