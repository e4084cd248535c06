"""The startup taint, which the agent removes."""

from tests.integration.agent.agentnode import AgentNode
from tests.simulators.apiserver import FakeApiServer, Fault, Object

KEY = "dphub.dev/devices"
TAINT = {"key": KEY, "value": "pending", "effect": "NoSchedule"}
OTHER = {"key": "example.com/other", "effect": "NoSchedule"}


def _taints(api: FakeApiServer) -> list[Object]:
    found: list[Object] = api.node["spec"].get("taints", [])
    return found


def _show(api: FakeApiServer, count: int) -> None:
    api.node["status"]["allocatable"]["example.com/stub"] = str(count)
    api.touch()


async def test_the_taint_is_removed_when_the_node_lists_the_devices(node: AgentNode, api: FakeApiServer) -> None:
    """Registration is not enough: the scheduler relies on the node's status, so the agent waits for its update."""
    node.configure(f"startup_taint: {KEY}\n")
    api.node["spec"]["taints"] = [OTHER, TAINT]
    await node.start_hub()
    await node.condition("True")
    _show(api, 0)
    read = len(api.requests)
    await node.wait(
        lambda: [each for each in api.requests[read:] if each.method == "GET"], "another request by the agent"
    )
    assert TAINT in _taints(api)
    _show(api, 4)
    await node.wait(lambda: TAINT not in _taints(api), "the end of the taint")
    assert _taints(api) == [OTHER]


async def test_taints_that_change_in_between(node: AgentNode, api: FakeApiServer) -> None:
    """The agent never removes another taint: the API server rejects the change, and the agent checks again."""
    node.configure(f"startup_taint: {KEY}\nevents: false\nconditions: false\n")
    api.node["spec"]["taints"] = [TAINT, OTHER]
    _show(api, 4)
    api.faults = [Fault(503), Fault(409)]
    await node.start_hub()
    await node.wait(lambda: TAINT not in _taints(api), "the end of the taint")
    assert _taints(api) == [OTHER]
    (removal,) = [each for each in api.requests if each.method == "PATCH"]
    assert removal.body[0] == {"op": "test", "path": "/spec/taints/0", "value": TAINT}


async def test_it_waits_for_the_resources_that_are_named(node: AgentNode, api: FakeApiServer) -> None:
    """As long as no plugin registers a named resource, the taint stays, whatever other resources there are."""
    node.configure(f"startup_taint: {KEY}\nstartup_resources: [example.com/other]\n")
    api.node["spec"]["taints"] = [TAINT]
    _show(api, 4)
    await node.start_hub()
    await node.condition("True")
    assert _taints(api) == [TAINT]
