"""The conditions that follow from the status."""

import msgspec
import pytest

from hub.agent.conditions import FAILED_AFTER, Conditions, NodeCondition, patch_of, shorten
from hub.agent.objects import Node, NodeState, WrittenCondition
from hub.agent.settings import AgentSettings, Meaning
from hub.model.hub import HubReport, ProcessReport, RunState
from hub.model.node import Condition, HubStatus, NodeStatus, PluginStatus
from hub.model.plugin import DeviceStatus, PluginReport, RegistrationStatus, ResourceStatus

HUB = HubStatus(
    running=True,
    unresponsive=False,
    last_heartbeat=1,
    memory=None,
    report=HubReport("1", 1, 1.0, "dphub", "/circus.ini", "/plugins", "/"),
)
BROKEN = DeviceStatus("GPU-1", healthy=False, reason="XID 79", source="plugin", health="unhealthy")
CORDONED = DeviceStatus("GPU-2", healthy=False, reason="cordoned: loud", source="cordon", health="unhealthy")
SOUND = DeviceStatus("GPU-3", healthy=True)


def plugin(
    *devices: DeviceStatus,
    name: str = "gpu",
    condition: Condition = Condition.REGISTERED,
    message: str = "",
    starts: int = 1,
) -> PluginStatus:
    """Return the status of a plugin with one resource."""
    resource = ResourceStatus(
        "nvidia.com/gpu", "", RegistrationStatus.REGISTERED, 0, capacity=len(devices), devices=devices
    )
    return PluginStatus(
        name=name,
        condition=condition,
        message=message,
        last_heartbeat=1,
        log_level="info",
        memory=None,
        process=ProcessReport(name, RunState.RUNNING, 2, 1.0, starts=starts),
        report=PluginReport(name, 2, scanned=True, resources=(resource,) if devices else ()),
    )


def status(*plugins: PluginStatus) -> NodeStatus:
    """Return the status of a node."""
    return NodeStatus(time=1, node="n1", ok=True, ready=True, problems=(), hub=HUB, plugins=plugins)


def _conditions(*plugins: PluginStatus, settings: AgentSettings | None = None) -> dict[str, NodeCondition]:
    conditions = Conditions(settings or AgentSettings())
    conditions.update(status(*plugins), 0)
    return conditions.wanted


@pytest.mark.parametrize(
    ("found", "state", "reason", "message"),
    [
        (plugin(SOUND), "True", "DphubDevicesHealthy", "all devices can be used"),
        (plugin(SOUND, CORDONED), "True", "DphubDevicesHealthy", "all devices can be used"),
        (
            plugin(SOUND, BROKEN),
            "False",
            "DphubDevicesUnhealthy",
            "1 of 2 nvidia.com/gpu devices is unhealthy (GPU-1): XID 79",
        ),
        (plugin(condition=Condition.NO_RESOURCES, message="no driver"), "True", "DphubNoDevices", "no driver"),
        (plugin(condition=Condition.STARTING), "Unknown", "DphubPluginStarting", "starting"),
        (plugin(condition=Condition.STOPPED), "Unknown", "DphubPluginStopped", "an administrator stopped the plugin"),
    ],
)
def test_a_condition(found: PluginStatus, state: str, reason: str, message: str) -> None:
    """It is true if all devices of the plugin can be used, except those that an administrator has cordoned."""
    (condition,) = _conditions(found).values()
    assert condition[:3] == (state, reason, message)


def test_the_types() -> None:
    """They are derived from the plugins' names and from the meaning of True; each can be set, or left out."""
    names = ("gpu", "ib", "amd", "intel", "stub", "my-plugin")
    plugins = [plugin(SOUND, name=name) for name in names]
    assert list(_conditions(*plugins)) == [
        *("GPUDevicesHealthy", "RDMADevicesHealthy", "AMDGPUDevicesHealthy", "IntelGPUDevicesHealthy"),
        *("StubDevicesHealthy", "MyPluginDevicesHealthy"),
    ]
    settings = AgentSettings(condition_types={"gpu": "", "ib": "Adapters"}, condition_true_means=Meaning.UNHEALTHY)
    found = _conditions(*plugins[:3], settings=settings)
    assert {kind: each.status for kind, each in found.items()} == {
        "Adapters": "False",
        "AMDGPUDevicesUnhealthy": "False",
    }


def test_plugins_without_a_condition() -> None:
    """Plugins that have not been started since the hub itself was, and other programs such as the agent, have none."""
    off = plugin(name="amd", condition=Condition.STOPPED, starts=0)
    assert _conditions(off, plugin(name="agent", condition=Condition.EXTERNAL)) == {}


def test_a_plugin_that_crashes_once_changes_nothing() -> None:
    """It is restarted at once; only a plugin that has not worked for a while counts as failed."""
    conditions = Conditions(AgentSettings())
    conditions.update(status(plugin(SOUND)), 0)
    before = conditions.wanted
    failed = plugin(condition=Condition.BACKING_OFF, message="killed by SIGSEGV")
    assert conditions.update(status(failed), 1) == FAILED_AFTER
    assert conditions.wanted == before
    assert conditions.update(status(failed), 1 + FAILED_AFTER) is None
    (condition,) = conditions.wanted.values()
    assert condition[:3] == ("False", "DphubPluginFailed", "backing off: killed by SIGSEGV")
    conditions.update(status(plugin(condition=Condition.STARTING)), 20)
    assert conditions.wanted["GPUDevicesHealthy"].reason == "DphubPluginFailed"


def test_the_time_changes_with_the_status_only() -> None:
    """This also holds for the condition of an earlier agent; conditions of other programs are not adopted."""
    old = WrittenCondition("GPUDevicesHealthy", "False", "DphubDevicesUnhealthy", "?", "2026-01-01T00:00:00Z")
    other = WrittenCondition("Ready", "True", "KubeletReady")
    conditions = Conditions(AgentSettings())
    assert conditions.take_over(Node(status=NodeState((old, other)))) == {"GPUDevicesHealthy"}
    conditions.update(status(plugin(BROKEN)), 0)
    assert conditions.wanted["GPUDevicesHealthy"].since == "2026-01-01T00:00:00Z"
    conditions.update(status(plugin(SOUND)), 0)
    assert conditions.wanted["GPUDevicesHealthy"].since > "2026-01-01T00:00:00Z"


def test_a_patch() -> None:
    """It contains the conditions to write, and those to remove."""
    patch = patch_of({"A": NodeCondition("True", "DphubDevicesHealthy", "m", "t1"), "B": None}, "t2")
    written, removed = patch["status"]["conditions"]
    assert (written["lastHeartbeatTime"], written["lastTransitionTime"]) == ("t2", "t1")
    assert removed == {"type": "B", "$patch": "delete"}


def test_a_message_has_a_limit() -> None:
    """A message is at most one KiB, even if its characters take several bytes."""
    assert shorten("short") == "short"
    for text in ("x" * 5000, "é" * 5000):
        assert 1020 <= len(shorten(text).encode()) <= 1024
        assert shorten(text).endswith("...")


@pytest.mark.parametrize("name", ["", "Fan Is Loud", "a/b/c", "x" * 400, "Ready", "NetworkUnavailable"])
def test_invalid_types_are_rejected(name: str) -> None:
    """The error says what was expected; an empty type is valid, and means no condition."""
    values = {"condition_types": {"gpu": name}}
    if not name:
        assert msgspec.convert(values, AgentSettings).condition_type("gpu") == ""
        return
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(values, AgentSettings)
