"""The metrics of a node, made from its status in this process."""

from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.model.hub import HubReport, ProcessReport, RunState
from hub.model.node import Condition, HubStatus, NodeStatus, PluginStatus
from hub.model.plugin import DeviceStatus, PluginReport, RegistrationStatus, ResourceStatus
from hub.status.prometheus import expose


def _node(
    condition: Condition,
    *devices: DeviceStatus,
    removed: Mapping[str, str],
    registration: RegistrationStatus = RegistrationStatus.REGISTERED,
) -> NodeStatus:
    resource = ResourceStatus("nvidia.com/gpu", "s", registration, 0, devices=devices, removed_in_use=removed)
    plugin = PluginStatus(
        name="gpu",
        condition=condition,
        message="",
        last_heartbeat=0,
        log_level="",
        memory=None,
        process=ProcessReport("gpu", RunState.RUNNING),
        report=PluginReport("gpu", resources=(resource,)),
    )
    report = HubReport("1", 1, 0, "dphub", "", "", "")
    hub = HubStatus(running=True, unresponsive=False, last_heartbeat=0, memory=None, report=report)
    return NodeStatus(time=0, node="a", ok=True, ready=True, problems=(), hub=hub, plugins=(plugin,))


def _samples(status: NodeStatus, name: str) -> list[tuple[Mapping[str, str], float]]:
    families = text_string_to_metric_families(expose(status, {}).decode())
    (found,) = (family for family in families if family.name == name)
    return [(sample.labels, sample.value) for sample in found.samples]


def _held(status: NodeStatus) -> list[tuple[Mapping[str, str], float]]:
    return _samples(status, "dphub_device_held")


DEVICES = (
    DeviceStatus("GPU-1::0", healthy=True, physical="GPU-1", holder="team-a/trainer/main"),
    DeviceStatus("GPU-1::1", healthy=True, physical="GPU-1"),
    DeviceStatus("card-2", healthy=False, reason="ECC", holder='team-b/odd"name/main'),
)


def _labels(device: str, physical: str, namespace: str, pod: str) -> dict[str, str]:
    about = {"plugin": "gpu", "resource": "nvidia.com/gpu", "device": device, "physical": physical}
    return about | {"namespace": namespace, "pod": pod, "container": "main"}


def test_each_device_in_use_has_its_container() -> None:
    """Each has one series, healthy or not, even if it was removed; a free device has none."""
    assert _held(_node(Condition.REGISTERED, *DEVICES, removed={"GPU-9": "team-a/old/main"})) == [
        (_labels("GPU-1::0", "GPU-1", "team-a", "trainer"), 1),
        (_labels("card-2", "card-2", "team-b", 'odd"name'), 1),
        (_labels("GPU-9", "GPU-9", "team-a", "old"), 1),
    ]


def test_an_older_hub_reports_none() -> None:
    """During an upgrade only the newer hub reports each device, so there is one series that can be joined."""
    assert _held(_node(Condition.SUPERSEDED, *DEVICES, removed={})) == []


@pytest.mark.parametrize("holder", ["pod", "a/b", "a/b/c/d", "/"])
def test_a_holder_of_any_form(holder: str) -> None:
    """A holder in a form that no kubelet reports is in the labels as far as possible."""
    ((labels, value),) = _held(_node(Condition.REGISTERED, DeviceStatus("x", healthy=True, holder=holder), removed={}))
    assert "/".join(labels.get(name, "") for name in ("namespace", "pod", "container")).rstrip("/") == holder.rstrip(
        "/"
    )
    assert value == 1


@pytest.mark.parametrize(
    ("registration", "values"),
    [
        (RegistrationStatus.REGISTERED, [1]),
        (RegistrationStatus.REJECTED, [0]),
        (RegistrationStatus.SUPERSEDED, []),
    ],
)
def test_a_hub_on_standby_is_not_counted_as_unregistered(registration: RegistrationStatus, values: list[int]) -> None:
    """It may serve nothing for as long as the node's service runs, and an alert must not fire for that."""
    status = _node(Condition.SUPERSEDED, *DEVICES, removed={}, registration=registration)
    assert [value for _, value in _samples(status, "dphub_resource_registered")] == values
