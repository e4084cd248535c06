"""The conditions of a node that a real agent under a real hub writes."""

import os
import signal
from datetime import datetime

from tests.integration.agent.agentnode import AGENT, CONDITION, STUB, STUB_YAML, AgentNode
from tests.simulators.apiserver import FakeApiServer

BROKEN = "unhealthy:\n  stub-1: the fan is loud\n"


async def test_a_broken_device_is_a_condition(node: AgentNode, api: FakeApiServer) -> None:
    """The condition names the device and the hub's reason; conditions of other components stay as they are."""
    await node.start_hub()
    healthy = await node.condition("True")
    assert (healthy["reason"], healthy["message"]) == ("DphubDevicesHealthy", "all devices can be used")
    node.faults(BROKEN)
    broken = await node.condition("False")
    assert broken["reason"] == "DphubDevicesUnhealthy"
    assert broken["message"] == "1 of 4 example.com/stub devices is unhealthy (stub-1): the fan is loud"
    node.faults("")
    await node.condition("True")
    assert api.conditions["Ready"]["reason"] == "KubeletReady"
    assert set(api.conditions) == {"Ready", CONDITION}


async def test_the_time_of_the_transition(node: AgentNode, api: FakeApiServer) -> None:
    """The time stays the same when another agent takes over the condition, and while only the message changes."""
    await node.start_hub()
    await node.condition("True")
    node.faults(BROKEN)
    broken = await node.condition("False")
    before = _earlier(api)
    _kill_agent(node)
    await node.wait(lambda: len(node.logged("agent started")) == 2, "the next agent")
    written = len(api.requests)
    await node.wait(lambda: any(each.method == "PATCH" for each in api.requests[written:]), "the next heartbeat")
    node.faults(f"{BROKEN}  stub-2: the fan is loud\n")
    await node.wait(lambda: "2 of 4" in api.conditions[CONDITION]["message"], "the other message")
    found = api.conditions[CONDITION]
    assert found["lastTransitionTime"] == before
    assert datetime.fromisoformat(found["lastHeartbeatTime"]) >= datetime.fromisoformat(broken["lastHeartbeatTime"])


def _earlier(api: FakeApiServer) -> str:
    """Move the time of the transition back, and return it."""
    api.conditions[CONDITION]["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    return "2026-01-01T00:00:00Z"


def _kill_agent(node: AgentNode) -> None:
    (started, *_) = [each for each in node.logged("plugin started") if each["plugin"] == "agent"]
    os.kill(started["pid"], signal.SIGKILL)


async def test_what_true_means_is_a_setting(node: AgentNode, api: FakeApiServer) -> None:
    """The type of the condition is a setting, too, and may differ for each plugin."""
    node.configure("condition_true_means: unhealthy\ncondition_types: {stub: example.com/FanIsLoud}\n")
    await node.start_hub()
    await node.condition("False", "example.com/FanIsLoud")
    node.faults(BROKEN)
    await node.condition("True", "example.com/FanIsLoud")
    assert CONDITION not in api.conditions


async def test_a_stopped_agent_leaves_nothing(node: AgentNode, api: FakeApiServer) -> None:
    """When the agent is turned off, its conditions disappear, because nothing would keep them up to date."""
    await node.start_hub()
    await node.condition("True")
    assert (await node.dphub("stop", "agent")).code == 0
    assert set(api.conditions) == {"Ready"}
    assert node.logged("agent stopped")


async def test_the_condition_of_a_removed_plugin_disappears(node: AgentNode, api: FakeApiServer) -> None:
    """The condition disappears even if the plugin was removed while no agent was running."""
    other = STUB.replace(":stub]", ":other]").replace("stub.yaml", "other.yaml")
    files = node.directory_of_files
    (files / "other.yaml").write_text(STUB_YAML.replace("/stub", "/other"))
    (files / "circus.ini").write_text(node.configuration + other)
    await node.start_hub()
    await node.condition("True", "OtherDevicesHealthy")
    (files / "circus.ini").write_text(node.configuration)
    assert (await node.dphub("reload")).code == 0
    await node.wait(lambda: "OtherDevicesHealthy" not in api.conditions, "the end of the condition")
    api.node["status"]["conditions"].append({"type": "GoneDevicesHealthy", "reason": "DphubDevicesHealthy"})
    await node.dphub("restart", "agent")
    await node.wait(lambda: set(api.conditions) == {"Ready", CONDITION}, "the end of the former condition")


async def test_an_unavailable_api_server_only_delays_conditions(node: AgentNode, api: FakeApiServer) -> None:
    """The condition is written once the server is back; the log has one line for the outage and one for its end."""
    await node.start_hub()
    await node.condition("True")
    await api.stop()
    node.faults(BROKEN)
    await node.wait(lambda: node.logged("API server unavailable"), "the outage in the log")
    await api.start()
    await node.condition("False")
    assert len(node.logged("API server unavailable")) == 1
    assert len(node.logged("API server available")) == 1


async def test_during_an_upgrade_the_newest_agent_acts(node: AgentNode, api: FakeApiServer) -> None:
    """The old agent writes nothing once the new one is running, and removes nothing when it stops."""
    await node.start_hub("old")
    await node.condition("True")
    old = node.hub
    await node.start_hub("new")
    await node.wait(lambda: len(node.logged("agent started")) == 2, "the new agent")
    await node.kubelet.wait_for("example.com/stub", 4, timeout=120)
    assert old
    old.send_signal(signal.SIGTERM)
    await old.wait()
    assert CONDITION in api.conditions
    node.faults(BROKEN)
    await node.condition("False")
    deleted = [each for each in api.requests if "$patch" in str(each.body)]
    assert deleted == []


async def test_a_node_without_the_agent_is_not_touched(node: AgentNode, api: FakeApiServer) -> None:
    """A hub whose circus.ini has no agent does not send any requests."""
    (node.directory_of_files / "circus.ini").write_text(STUB)
    await node.start_hub()
    await node.kubelet.wait_for("example.com/stub", 4, timeout=120)
    assert api.requests == []
    assert AGENT.partition("\n")[0] not in STUB
