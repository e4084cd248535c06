"""Which changes in the status become events."""

import pytest
from msgspec.structs import replace

from hub.agent import occurrences as module
from hub.agent.occurrences import Announced, Occurrences, Pod
from hub.model.node import PluginStatus
from hub.model.plugin import DeviceStatus, PluginReport, ResourceStatus
from tests.unit.agent.test_conditions import BROKEN, CORDONED, SOUND, plugin, status


def _notes(occurrences: Occurrences, *plugins: PluginStatus) -> list[str]:
    return [each.note for each in occurrences.update(status(*plugins), 0)]


def test_each_change_once() -> None:
    """There is one event when a device becomes unhealthy and one when it recovers; none if it is healthy at first."""
    occurrences = Occurrences(Announced())
    assert _notes(occurrences, plugin(SOUND)) == []
    assert _notes(occurrences, plugin(SOUND, BROKEN)) == ["nvidia.com/gpu device GPU-1 is unhealthy: XID 79"]
    assert _notes(occurrences, plugin(SOUND, replace(BROKEN, reason="XID 48"))) == []
    healthy = DeviceStatus("GPU-1", healthy=True)
    assert _notes(occurrences, plugin(healthy)) == ["nvidia.com/gpu device GPU-1 is healthy again (was: XID 79)"]
    assert _notes(occurrences, plugin(healthy)) == []


def test_a_device_that_recovers_is_not_healthy_yet() -> None:
    """It gets no event while it is recovering, whether or not it was reported as unhealthy."""
    recovering = replace(BROKEN, health="recovering", source="")
    announced = Occurrences(Announced({"gpu nvidia.com/gpu GPU-1": "XID 79"}))
    assert _notes(announced, plugin(recovering)) == []
    assert _notes(Occurrences(Announced()), plugin(recovering)) == []
    assert len(_notes(announced, plugin(DeviceStatus("GPU-1", healthy=True)))) == 1


def test_commands_of_an_administrator_are_not_events() -> None:
    """Cordons and tests of a device are not events; a fault in a cordoned device is one."""
    occurrences = Occurrences(Announced())
    for source in ("cordon", "annotation", "admin"):
        assert _notes(occurrences, plugin(replace(CORDONED, source=source))) == []
    assert len(_notes(occurrences, plugin(replace(CORDONED, source="plugin")))) == 1


def test_shares_are_one_device() -> None:
    """The shares of a physical device have one event, with the resources and all pods."""
    shares = tuple(
        replace(BROKEN, id=f"GPU-1::{n}", physical="GPU-1", holder=f"team/pod-{n}/main" if n else "") for n in range(3)
    )
    (found,) = Occurrences(Announced()).update(status(plugin(*shares)), 5)
    assert found.note == "nvidia.com/gpu device GPU-1 is unhealthy: XID 79"
    assert found.pods == (Pod("team", "pod-1"), Pod("team", "pod-2"))
    assert (found.about, found.time) == ("GPU-1", 5)


def test_a_plugin_that_starts_changes_nothing() -> None:
    """While it has not reported its devices, they are neither healthy nor gone; a removed plugin is forgotten."""
    occurrences = Occurrences(Announced())
    _notes(occurrences, plugin(BROKEN))
    starting = replace(plugin(BROKEN), report=PluginReport("gpu"))
    assert _notes(occurrences, starting) == []
    assert occurrences.announced.unhealthy
    assert _notes(occurrences) == []
    assert occurrences.announced.unhealthy == {}


def test_ids_that_are_not_unique() -> None:
    """Devices of two resources with the same id are two devices."""
    report = plugin(BROKEN).report
    (resource,) = report.resources
    both: tuple[ResourceStatus, ...] = (resource, replace(resource, name="nvidia.com/other"))
    two = replace(plugin(BROKEN), report=replace(report, resources=both))
    assert _notes(Occurrences(Announced()), two) == [
        "nvidia.com/gpu device GPU-1 is unhealthy: XID 79",
        "nvidia.com/other device GPU-1 is unhealthy: XID 79",
    ]


def test_a_plugin_that_renames_its_devices_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the unhealthy devices that are absent, only the latest are remembered, so memory and file stay small."""
    monkeypatch.setattr(module, "MAX_ABSENT", 10)
    occurrences = Occurrences(Announced())
    for number in range(100):
        _notes(occurrences, plugin(replace(BROKEN, id=f"GPU-{number}")))
    assert list(occurrences.announced.unhealthy) == [f"gpu nvidia.com/gpu GPU-{number}" for number in range(89, 100)]
