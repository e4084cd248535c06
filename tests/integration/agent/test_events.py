"""The events that a real agent under a real hub writes."""

import os
import signal

from tests.integration.agent.agentnode import AgentNode
from tests.simulators.apiserver import FakeApiServer, Fault

RESOURCE = "example.com/stub"


async def _break(node: AgentNode, *devices: str) -> None:
    node.faults("unhealthy:\n" + "".join(f"  {device}: the fan is loud\n" for device in devices) if devices else "")


async def _wait_events(node: AgentNode, count: int) -> None:
    await node.wait(lambda: len(node.api.events) >= count, f"{count} events")


async def test_a_broken_device_is_an_event(node: AgentNode, api: FakeApiServer) -> None:
    """The node gets an event with the device and the hub's reason, and one when the device recovers, but no other."""
    await node.start_hub()
    await node.condition("True")
    await _break(node, "stub-1")
    await _wait_events(node, 1)
    (broken,) = api.events_about("Node")
    assert (broken["type"], broken["reason"]) == ("Warning", "DeviceUnhealthy")
    assert broken["note"] == "example.com/stub device stub-1 is unhealthy: the fan is loud"
    assert broken["regarding"]["uid"] == "uid-of-node-1"
    assert broken["metadata"]["namespace"] == "default"
    assert broken["eventTime"].endswith("Z")
    await _break(node)
    await _wait_events(node, 2)
    healthy = api.events_about("Node")[1]
    assert (healthy["type"], healthy["reason"]) == ("Normal", "DeviceHealthy")
    assert healthy["note"] == "example.com/stub device stub-1 is healthy again (was: the fan is loud)"
    assert len(api.events) == 2


async def test_the_pod_with_the_device_has_the_event(node: AgentNode, api: FakeApiServer) -> None:
    """The pod's user therefore sees why it does not work; a pod with other devices has no event."""
    api.add_pod("team", "train")
    await node.start_hub()
    await node.kubelet.wait_for(RESOURCE, 4, timeout=120)
    await node.kubelet.admit("train", {RESOURCE: 1}, namespace="team")
    await node.dphub("devices")
    (held,) = await _held(node)
    await _break(node, held)
    await node.wait(lambda: api.events_about("Pod"), "the event on the pod")
    (event,) = api.events_about("Pod")
    regarding = event["regarding"]
    assert (regarding["namespace"], regarding["name"], regarding["uid"]) == ("team", "train", "uid-of-train")
    assert event["metadata"]["namespace"] == "team"
    assert event["related"]["kind"] == "Node"
    assert held in event["note"]


async def _held(node: AgentNode) -> list[str]:
    """Return the devices that, as far as the hub knows, a container uses."""

    def find() -> list[str]:
        report = node.run_dir.report("stub").read_text()
        return [
            each
            for each in ("stub-0", "stub-1", "stub-2", "stub-3")
            if f'"{each}"' in report and "team/train" in report
        ]

    found: list[str] = await node.wait(find, "the device of the pod")
    return found[:1]


async def test_a_fault_that_repeats_is_counted(node: AgentNode, api: FakeApiServer) -> None:
    """Within six minutes, the same fault in the same device is the same event, with a count."""
    await node.start_hub()
    await node.condition("True")
    for count in (1, 2):
        await _break(node, "stub-1")
        await node.condition("False")
        await _break(node)
        await node.condition("True")
        await node.wait(lambda count=count: _counts(api) == [count, count], f"a count of {count}")


def _counts(api: FakeApiServer) -> list[int]:
    return [each.get("series", {}).get("count", 1) for each in api.events.values()]


async def test_a_restart_of_the_agent_repeats_nothing(node: AgentNode, api: FakeApiServer) -> None:
    """The next agent knows which events were sent; it reports a recovery that happened in between."""
    await node.start_hub()
    await node.condition("True")
    await _break(node, "stub-1", "stub-2")
    await _wait_events(node, 2)
    await node.wait((node.run_dir.path / "node/agent.announced.json").exists, "the record of reported events")
    (started, *_) = [each for each in node.logged("plugin started") if each["plugin"] == "agent"]
    os.kill(started["pid"], signal.SIGSTOP)
    await _break(node, "stub-2")
    os.kill(started["pid"], signal.SIGKILL)
    await _wait_events(node, 3)
    assert [each["reason"] for each in api.events.values()] == ["DeviceUnhealthy", "DeviceUnhealthy", "DeviceHealthy"]


async def test_an_answer_that_is_lost_repeats_nothing(node: AgentNode, api: FakeApiServer) -> None:
    """An event that the API server has accepted exists once, even if the response was lost."""
    await node.start_hub()
    await node.kubelet.wait_for(RESOURCE, 4, timeout=120)
    await node.wait(lambda: node.logged("agent started"), "the agent")
    api.faults = [Fault(503, {"Retry-After": "1"}, method="POST"), Fault(200, lose=True, method="POST")]
    await _break(node, "stub-1")
    await node.wait(lambda: [each for each in api.requests if each.status == 409], "the second attempt")
    assert len(api.events) == 1


async def test_a_cordon_is_not_an_event(node: AgentNode, api: FakeApiServer) -> None:
    """A cordoned device is not broken, so the cordon is not reported as a fault."""
    await node.start_hub()
    await node.condition("True")
    await node.dphub("cordon", "stub-1")
    await _break(node, "stub-2")
    await _wait_events(node, 1)
    (event,) = api.events.values()
    assert "stub-2" in event["note"]
    assert (await node.condition("False"))["message"].startswith("1 of 4")
