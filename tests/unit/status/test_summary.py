"""What scripts learn about a node."""

from pathlib import Path

import msgspec
import pytest

from hub.model.hub import AS_REQUESTED, HubReport, LastExit, ProcessReport, RunState
from hub.model.node import Condition, HubStatus, NodeStatus, PluginStatus
from hub.model.plugin import (
    DeviceStatus,
    PluginReport,
    RegistrationStatus,
    Rejection,
    ResetReport,
    ResourceStatus,
)
from hub.status.summary import summary

GPU = "nvidia.com/gpu"
HUB = HubStatus(
    running=True,
    unresponsive=False,
    last_heartbeat=1,
    memory=None,
    report=HubReport("1", 1, 1.0, "dphub", str(Path("/circus.ini")), "/plugins", "/"),
)
BROKEN = DeviceStatus("GPU-1", healthy=False, reason="XID 79", source="plugin", health="unhealthy")
CORDONED = DeviceStatus("GPU-2", healthy=False, reason="cordoned: loud", source="cordon", health="unhealthy")


def _plugin(
    *devices: DeviceStatus,
    name: str = "gpu",
    condition: Condition = Condition.REGISTERED,
    message: str = "",
    last_exit: LastExit | None = None,
    rejection: Rejection | None = None,
    **report: object,
) -> PluginStatus:
    resource = ResourceStatus(
        GPU, "", RegistrationStatus.REGISTERED, 0, capacity=len(devices), devices=devices, rejection=rejection
    )
    resources = (resource,) if devices or rejection else ()
    return PluginStatus(
        name=name,
        condition=condition,
        message=message,
        last_heartbeat=1,
        log_level="info",
        memory=None,
        process=ProcessReport(name, RunState.RUNNING, 2, 1.0, last_exit=last_exit),
        report=msgspec.convert({"plugin": name, "scanned": True, "resources": resources, **report}, PluginReport),
    )


def _lines(*plugins: PluginStatus) -> list[str]:
    status = NodeStatus(time=1, node="n1", ok=True, ready=True, problems=(), hub=HUB, plugins=plugins)
    return summary(status).splitlines()


def test_a_node_without_problems() -> None:
    """Each plugin's devices have a line, and all plugins combined have one."""
    healthy = DeviceStatus("GPU-0", healthy=True)
    assert _lines(_plugin(healthy), _plugin(name="ib")) == ["plugins ok", "devices/gpu ok", "devices/ib ok"]


def test_a_device_that_cannot_be_used() -> None:
    """Its line shows the reason, and nothing else; a cordoned device is not a problem."""
    broken = f"devices/gpu problem 1 of 2 {GPU} devices is unhealthy (GPU-1): XID 79"
    assert _lines(_plugin(BROKEN, CORDONED)) == ["plugins ok", broken]
    assert _lines(_plugin(CORDONED)) == ["plugins ok", "devices/gpu ok"]


@pytest.mark.parametrize(
    ("condition", "state", "devices"),
    [
        (Condition.STARTING, "unknown", ["unknown"]),
        (Condition.REGISTERING, "unknown", ["unknown"]),
        (Condition.REGISTERED, "ok", ["ok"]),
        (Condition.FAILING, "ok", ["ok"]),
        (Condition.NO_RESOURCES, "ok", ["ok"]),
        (Condition.STANDBY, "ok", []),
        (Condition.SUPERSEDED, "ok", []),
        (Condition.EXTERNAL, "ok", ["ok"]),
        (Condition.WAITING, "ok", ["ok"]),
        (Condition.REGISTRATION_FAILED, "problem", ["unknown"]),
        (Condition.UNRESPONSIVE, "problem", ["unknown"]),
        (Condition.BACKING_OFF, "problem", ["unknown"]),
        (Condition.START_FAILED, "problem", ["unknown"]),
        (Condition.STOPPING, "ok", ["ok"]),
        (Condition.STOPPED, "ok", ["ok"]),
    ],
)
def test_each_condition_of_a_plugin(condition: Condition, state: str, devices: list[str]) -> None:
    """A plugin that is starting has an unknown state; one that failed is a problem, as it is for `/readyz`."""
    plugins, *others = _lines(_plugin(condition=condition, message="a reason"))
    reason = "" if state == "ok" else f" gpu: {condition}: a reason"
    assert plugins == f"plugins {state}{reason}"
    assert [line.split()[:2] for line in others] == [["devices/gpu", each] for each in devices]


def test_a_driver_that_is_missing_by_fault() -> None:
    """It is a problem of the plugin, and the devices are unknown, including those of a plugin in standby."""
    lines = _lines(_plugin(condition=Condition.NO_RESOURCES, message="no library", reason="no library", fault=True))
    assert lines == [
        "plugins problem gpu: no resources: no library",
        "devices/gpu unknown gpu: no resources: no library",
    ]


def test_several_plugins_that_fail() -> None:
    """All are named; one that is starting is not a problem."""
    down = [_plugin(name=name, condition=Condition.BACKING_OFF) for name in ("a", "b")]
    starting = _plugin(name="c", condition=Condition.STARTING)
    assert _lines(*down, starting)[0] == "plugins problem a: backing off; b: backing off"


def test_what_happens_once() -> None:
    """A crash, a container that got no device or a failed reset has a line with its time; intended exits have none."""
    plugin = _plugin(
        last_exit=LastExit(1, 1000.4, "killed by SIGSEGV", -11),
        rejection=Rejection("GPU-1 is unhealthy", 2000.0, 3),
        resets={
            "GPU-1": ResetReport("timed out", "took longer than 25 s", 3000.0, 25.0),
            "GPU-2": ResetReport("ok", "", 4000.0, 1.0),
            "GPU-3": ResetReport("skipped", "in use", 5000.0, 1.0),
        },
    )
    assert _lines(plugin)[2:] == [
        "restarts 1000 gpu: killed by SIGSEGV",
        f"rejections 2000 gpu: {GPU}: GPU-1 is unhealthy",
        "resets 3000 gpu: GPU-1: took longer than 25 s",
    ]
    requested = LastExit(1, 1000.4, AS_REQUESTED, 0)
    assert _lines(_plugin(last_exit=requested)) == ["plugins ok", "devices/gpu ok"]


def test_external_text_adds_no_line() -> None:
    """A reason that contains a line break stays in its line, so it cannot forge the result of another check."""
    odd = msgspec.structs.replace(BROKEN, reason="bad\nplugins ok\n\x1b[2J")
    lines = _lines(_plugin(odd))
    assert len(lines) == 2
    assert lines[1].isprintable()
