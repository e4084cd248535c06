"""Device lists, and which part of them a kubelet gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import Device
from hub.plugin.deviceplugin.messages import MESSAGE_BYTES, encode_list
from hub.plugin.devices.devicelist import DeviceList, ScannedDevices
from hub.plugin.health.store import DeviceHealth

DEVICES = st.builds(
    Device,
    st.text(max_size=70),
    unhealthy=st.sampled_from(["", "broken"]),
    numa=st.lists(st.integers(-2, 2**64), max_size=3),
)


def _published(scanned: ScannedDevices) -> DeviceList:
    """Create the list of devices, with the health that the plugin reports."""
    health = {name: DeviceHealth(reason=device.unhealthy) for name, device in scanned.devices.items()}
    return DeviceList(scanned.devices, problems=scanned.problems, health=health)


@given(st.lists(DEVICES, max_size=20))
def test_a_list_has_what_a_kubelet_takes(offered: list[Device]) -> None:
    """Every offered device is in the message, once and in order, or in the problems."""
    devices = _published(ScannedDevices.of(offered))
    message = encode_list(devices).message
    assert [device.ID for device in message.devices] == list(devices.devices)
    left_out = [problem for problem in devices.problems if " more device" not in problem]
    assert len(left_out) == min(len(offered) - len(devices.devices), 16)
    for device in message.devices:
        assert 1 <= len(device.ID) <= 63
        assert all(node.ID >= 0 for node in device.topology.nodes)
        assert device.health == ("Unhealthy" if devices.devices[device.ID].unhealthy else "Healthy")


@given(st.lists(DEVICES, max_size=20))
def test_unhealthy_copies_are_the_same_devices(offered: list[Device]) -> None:
    """None is healthy, and each keeps its reason."""
    trusted = ScannedDevices.of(offered)
    distrusted = trusted.all_unhealthy("no driver")
    assert list(distrusted.devices) == list(trusted.devices)
    assert distrusted.problems == trusted.problems
    for name, device in distrusted.devices.items():
        assert device.unhealthy == (trusted.devices[name].unhealthy or "no driver")
    assert {device.health for device in encode_list(_published(distrusted)).message.devices} <= {"Unhealthy"}


@given(st.lists(DEVICES, max_size=6), st.lists(DEVICES, max_size=6))
def test_lists_are_the_same_when_a_kubelet_sees_no_difference(one: list[Device], other: list[Device]) -> None:
    """The order does not matter, but everything that is sent does."""
    first, second = _published(ScannedDevices.of(one)), _published(ScannedDevices.of(other))
    sent = [
        {device.SerializeToString() for device in encode_list(devices).message.devices} for devices in (first, second)
    ]
    assert first.same_for_kubelet(second) is (sent[0] == sent[1])
    assert first.same_for_kubelet(_published(ScannedDevices.of(reversed(list(first.devices.values())))))


@pytest.mark.parametrize("reason", ["", "no driver"], ids=["healthy", "unhealthy"])
def test_a_list_beyond_the_limit_omits_the_same_devices(reason: str) -> None:
    """A device does not appear and disappear with the health of the others; the message always fits."""
    devices = {name: Device(name) for name in (f"{n:063}" for n in range(60_000))}
    found = encode_list(DeviceList(devices, health=dict.fromkeys(devices, DeviceHealth(reason=reason))))
    assert found.message.ByteSize() <= MESSAGE_BYTES
    assert found.omitted == frozenset(list(devices)[len(found.message.devices) :])
    assert len(found.omitted) == 60_000 - MESSAGE_BYTES // (63 + 2 + len("Unhealthy") + 2 + 4)
    assert (
        found.problem
        == f"{len(found.omitted)} devices left out: the list would exceed the kubelet's limit of 4194304 bytes"
    )
