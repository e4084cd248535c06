"""Which device a name refers to."""

import time

import pytest

from hub.base.errors import HubError
from hub.model.node import NodeStatus
from hub.model.plugin import DeviceStatus
from hub.status.lookup import DeviceIndex, UnknownDeviceError, find_device
from tests.unit.agent.test_conditions import plugin, status

GPU = "nvidia.com/gpu"


def _node(*devices: DeviceStatus) -> NodeStatus:
    return status(plugin(*devices))


NODE = _node(
    DeviceStatus("GPU-aaaa-1", healthy=True, physical="card-0", pci=("0000:07:00.0",), attributes={"name": "front"}),
    DeviceStatus("GPU-aaaa-2", healthy=True, physical="card-1"),
    DeviceStatus("GPU-bbbb-3", healthy=True),
)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("GPU-aaaa-1", "card-0"),
        ("card-0", "card-0"),
        ("0000:07:00.0", "card-0"),
        ("07:00.0", "card-0"),
        ("front", "card-0"),
        (f"{GPU} GPU-aaaa-2", "card-1"),
        ("GPU-bbbb", f"{GPU} GPU-bbbb-3"),
    ],
)
def test_names_of_a_device(name: str, key: str) -> None:
    """They are its id or a prefix of it, its physical device, its PCI address and its name, also with the resource."""
    assert DeviceIndex(NODE).find(name) == find_device(NODE, name) == ("gpu", key)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (" ", "the device name is empty"),
        ("GPU-", "GPU- is too short, expected at least 8 characters of an id; it matches card-0 of gpu, card-1 of gpu"),
        ("GPU-aaaa", r"GPU-aaaa matches 2 devices \(card-0 of gpu, card-1 of gpu\); give a longer or more exact name"),
        ("GPU-cccc-3", "there is no device GPU-cccc-3; dphub devices lists the devices"),
    ],
)
def test_unknown_device_names(name: str, reason: str) -> None:
    """They are an error that says what to do."""
    with pytest.raises(HubError, match=reason):
        find_device(NODE, name)


def test_a_similar_name_is_suggested_to_a_user_only() -> None:
    """Comparing all names takes much longer than finding one."""
    with pytest.raises(HubError, match="did you mean GPU-bbbb-3"):
        find_device(NODE, "GPU-cccc-3")
    with pytest.raises(UnknownDeviceError) as unknown:
        DeviceIndex(NODE).find("GPU-cccc-3")
    assert "mean" not in str(unknown.value)


def test_many_names_on_a_node_with_many_devices() -> None:
    """They take little time, whether or not they belong to devices: an annotation may have that many."""
    node = _node(*(DeviceStatus(f"GPU-{number:08d}-aaaa-bbbb-cccc", healthy=True) for number in range(2000)))
    began = time.process_time()
    index = DeviceIndex(node)
    for number in range(1000):
        assert index.find(f"GPU-{number:08d}-aaaa-bbbb-cccc")
        with pytest.raises(UnknownDeviceError):
            index.find(f"GPU-{number:08d}-aaaa-bbbb-dddd")
    # It takes 0.05 s; looking at each device for each name would take half a minute, with suggestions half an hour.
    assert time.process_time() - began < 10
