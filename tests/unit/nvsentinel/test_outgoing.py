"""What is reported to NVSentinel about the devices."""

from msgspec.structs import replace

from hub.model.node import PluginStatus
from hub.model.plugin import DeviceStatus
from hub.nvsentinel.outgoing import AGENT, device_events
from hub.nvsentinel.wire import NO_ACTION, STORE_ONLY, HealthEvent, encode_events
from tests.simulators.nvsentinel import events_in
from tests.unit.agent.test_conditions import BROKEN, CORDONED, SOUND, plugin, status


def _events(*plugins: PluginStatus) -> list[HealthEvent]:
    return list(device_events(status(*plugins), "node-1").values())


def test_a_broken_device() -> None:
    """The event contains the hub's reason, names the device as NVSentinel's monitors do, and requests no action."""
    broken = replace(BROKEN, physical="GPU-1", pci=("0000:1b:00.0",), since=5.25)
    (sent,) = events_in(encode_events(_events(plugin(broken))))
    assert (sent.agent, sent.componentClass, sent.checkName) == (AGENT, "GPU", "DphubDeviceHealth")
    assert (sent.isHealthy, sent.isFatal, sent.message, sent.nodeName) == (False, False, "XID 79", "node-1")
    assert (sent.recommendedAction, sent.processingStrategy) == (NO_ACTION, STORE_ONLY)
    entities = [(each.entityType, each.entityValue) for each in sent.entitiesImpacted]
    assert entities == [("GPU_UUID", "GPU-1"), ("PCI", "0000:1b:00.0")]
    assert (sent.generatedTimestamp.seconds, sent.generatedTimestamp.nanos) == (5, 250_000_000)


def test_its_recovery_has_the_same_entities() -> None:
    """This lets NVSentinel end the right event."""
    broken = replace(BROKEN, physical="GPU-1", pci=("0000:1b:00.0",))
    (before,) = _events(plugin(broken))
    (after,) = _events(plugin(replace(broken, healthy=True, reason="", source="", health="healthy")))
    assert (before.is_healthy, after.is_healthy) == (False, True)
    assert (before.check, before.entities) == (after.check, after.entities)


def test_what_nvsentinel_has_reported_is_not_sent_back() -> None:
    """It is sent neither as unhealthy nor as healthy; what another program reported, or the plugin found, is sent."""
    theirs = replace(BROKEN, source="external", reason="reported by nvsentinel/A: row 7", reporters=("nvsentinel",))
    assert _events(plugin(theirs)) == []
    (other,) = _events(plugin(replace(theirs, reporters=("memory-test",))))
    assert not other.is_healthy
    (both,) = _events(plugin(replace(theirs, reporters=("nvsentinel", "memory-test"))))
    assert not both.is_healthy
    (own,) = _events(plugin(replace(theirs, source="plugin", reason=f"XID 79; {theirs.reason}")))
    assert not own.is_healthy


def test_what_an_administrator_does_is_no_fault() -> None:
    """A cordoned device is healthy, and one that recovers is neither."""
    (cordoned,) = _events(plugin(CORDONED))
    assert cordoned.is_healthy
    assert _events(plugin(replace(BROKEN, health="recovering"))) == []


def test_shares_are_one_device() -> None:
    """A GPU with many shares is one event, unhealthy if one of them is."""
    shares = [replace(SOUND, id=f"GPU-1::{number}", physical="GPU-1") for number in range(4)]
    (sound,) = _events(plugin(*shares))
    assert sound.is_healthy
    (broken,) = _events(plugin(*shares, replace(BROKEN, id="GPU-1::4", physical="GPU-1")))
    assert (broken.is_healthy, broken.message) == (False, "XID 79")


def test_a_device_without_an_address() -> None:
    """It is named as commands name it."""
    (sent,) = _events(plugin(DeviceStatus("serial-1", healthy=True), name="serial"))
    assert (sent.component, list(sent.entities)) == ("serial", [("DEVICE", "nvidia.com/gpu serial-1")])
