"""Devices that containers hold and the plugin does not offer: in the kubelet's list, and nowhere else."""

import asyncio
from pathlib import Path

import pytest

from hub.api.device import Device
from hub.base.jsonfile import replace_bytes
from hub.kubelet.checkpoint import CHECKPOINT
from hub.kubelet.wire.v1beta1_pb2 import ContainerAllocateResponse
from hub.plugin.deviceplugin import messages
from hub.plugin.deviceplugin.messages import encode_list
from hub.plugin.devices import departures
from hub.testing.kubelet import AdvertisedDevice, Container, Pod, checkpoint
from hub.testing.kubelet.model import ContainerAllocation
from tests.unit.plugin.plugin_setup import STUB, Setup


class Holding(Setup):
    """An inventory, and a kubelet with one container."""

    def __init__(self, plugin_dir: Path) -> None:
        super().__init__(plugin_dir=plugin_dir)
        self._path = plugin_dir / CHECKPOINT

    def hold(self, *names: str) -> None:
        """Give the container these devices, near NUMA node 1."""
        held = tuple(AdvertisedDevice(name, healthy=True, numa=(1,)) for name in names)
        container = Container("main", allocations={STUB: ContainerAllocation(held, ContainerAllocateResponse())})
        checkpoint.write(self._path, {}, [Pod("holder", "default", {"main": container})])
        self.inventory.check_departing()

    def break_checkpoint(self) -> None:
        """Make it unknown which devices the container has."""
        replace_bytes(self._path, b"{}", mode=0o600)
        self.inventory.check_departing()

    @property
    def sent(self) -> dict[str, str]:
        """Return the health of each device that a kubelet sees."""
        return {device.ID: device.health for device in encode_list(self.resource.list).message.devices}


@pytest.fixture
def holding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Holding:
    """Create a node where devices leave the list as soon as they may."""
    monkeypatch.setattr(departures, "GRACE", 0)
    return Holding(tmp_path)


async def test_a_device_that_was_never_seen_is_advertised(holding: Holding) -> None:
    """It may have disappeared while the plugin was restarted; it has the NUMA nodes that the container got."""
    holding.hold("old")
    holding.scan(Device("a", numa=[0]))
    assert holding.sent == {"a": "Healthy", "old": "Unhealthy"}
    numa = {device.ID: [node.ID for node in device.topology.nodes] for device in _devices(holding)}
    assert numa == {"a": [0], "old": [1]}
    assert list(holding.resource.list.devices) == ["a"]
    assert [device.id for _, device in holding.inventory.all_devices()] == ["a"]


async def test_it_leaves_when_it_is_released(holding: Holding) -> None:
    """This causes one more list; a check without changes causes none."""
    holding.hold("a", "b")
    holding.scan(Device("a"), Device("b"), Device("c"))
    holding.scan(Device("c"))
    await _grace_time()
    assert holding.sent == {"a": "Unhealthy", "b": "Unhealthy", "c": "Healthy"}
    holding.hold("b")
    assert holding.sent == {"b": "Unhealthy", "c": "Healthy"}
    version = holding.resource.list.version
    holding.hold("b")
    assert holding.resource.list.version == version
    holding.hold()
    assert holding.sent == {"c": "Healthy"}
    assert holding.resource.list.version == version + 1


async def test_a_held_device_that_is_back_is_healthy_at_once(holding: Holding) -> None:
    """An adapter may disappear and return while a pod holds it."""
    holding.hold("a")
    for _ in range(2):
        holding.scan(Device("a"), Device("b"))
        assert holding.sent == {"a": "Healthy", "b": "Healthy"}
        holding.scan(Device("b"))
        assert holding.sent == {"a": "Unhealthy", "b": "Healthy"}


async def test_nothing_leaves_while_the_checkpoint_is_unreadable(holding: Holding) -> None:
    """One device too many does no harm, but one too few would crash the kubelet."""
    holding.hold("a")
    holding.scan(Device("a"), Device("b"), Device("c"))
    holding.scan(Device("c"))
    holding.break_checkpoint()
    await _grace_time()
    assert holding.sent == {"a": "Unhealthy", "b": "Unhealthy", "c": "Healthy"}
    holding.hold()
    assert holding.sent == {"c": "Healthy"}


async def test_the_list_is_sent_once_more_after_a_container_ended(holding: Holding) -> None:
    """The kubelet writes its checkpoint when it gets a list, and not when a container ends."""
    holding.hold("old", "older")
    holding.scan(Device("a"))
    versions = []
    for used in (["old", "older"], ["old"], ["old"], [], [], ["old"], []):
        before = holding.resource.list.version
        holding.resource.note_use(used)
        versions.append(holding.resource.list.version - before)
    assert versions == [0, 1, 0, 1, 0, 0, 1]


async def test_a_held_device_is_not_omitted(holding: Holding, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a list is too long for a kubelet, it lacks only devices that no container holds."""
    holding.hold("old")
    holding.scan(*(Device(f"new-{number}") for number in range(9)))
    monkeypatch.setattr(messages, "MESSAGE_BYTES", 100)
    assert 1 < len(holding.sent) < 9
    assert "old" in holding.sent


async def test_held_devices_leave_room_for_those_that_are_offered(
    holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds however many the checkpoint names; the status says that some are left out."""
    monkeypatch.setattr(messages, "MESSAGE_BYTES", 200)
    holding.hold(*(f"old-{number}" for number in range(99)))
    holding.scan(*(Device(f"new-{number}") for number in range(4)))
    assert [name for name in holding.sent if holding.sent[name] == "Healthy"] == ["new-0", "new-1", "new-2", "new-3"]
    assert "old-0" in holding.sent
    assert "devices left out" in encode_list(holding.resource.list).problem


async def test_what_no_kubelet_has_allocated_is_ignored(holding: Holding) -> None:
    """The checkpoint is written by another program, so its content is checked."""
    holding.hold("x" * 64, "old")
    holding.scan(Device("a"))
    assert holding.sent == {"a": "Healthy", "old": "Unhealthy"}


async def _grace_time() -> None:
    """Wait until only the checkpoint keeps a device in the list."""
    for _ in range(4):
        await asyncio.sleep(0)


def _devices(holding: Holding):  # noqa: ANN202 - gRPC's
    return encode_list(holding.resource.list).message.devices
