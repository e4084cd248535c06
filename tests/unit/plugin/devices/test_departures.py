"""When a device that has disappeared leaves the list, tested in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from hub.api.device import Device
from hub.plugin.deviceplugin.messages import encode_list
from hub.plugin.devices import departures
from hub.plugin.devices.departures import GRACE, Departures
from hub.plugin.devices.devicelist import DeviceList
from tests.unit.plugin.plugin_setup import Setup

A, B, C = ({name: Device(name)} for name in "abc")


class Pauses:
    """Pauses that end when the test says so.

    Attributes:
        begun: The seconds of each pause.
    """

    def __init__(self) -> None:
        self.begun: list[float] = []
        self._ends: list[asyncio.Event] = []

    async def sleep(self, seconds: float) -> None:
        """Begin a pause."""
        self.begun.append(seconds)
        self._ends.append(end := asyncio.Event())
        await end.wait()

    async def end(self) -> None:
        """End the oldest pause."""
        self._ends.pop(0).set()
        await _turns()


class Finishing:
    """Departures that finish on their own."""

    def __init__(self) -> None:
        self.pauses = Pauses()
        self.departures = Departures(self.pauses.sleep)
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def advertised(self) -> str:
        """The ids of the former devices that are still advertised."""
        return " ".join(self.departures.devices)

    async def update(self, before: dict[str, Device], after: dict[str, Device]) -> None:
        """Compare two consecutive sets of devices."""
        departure = self.departures.update(before, after)
        if departure.devices:
            self.tasks.append(asyncio.create_task(self.departures.finish(departure)))
        await _turns()


@pytest.fixture
async def finishing() -> AsyncIterator[Finishing]:
    """Create departures of one resource, whose tasks end with the test."""
    finishing = Finishing()
    yield finishing
    for task in finishing.tasks:
        task.cancel()


async def test_a_device_leaves_a_second_after_it_has_disappeared(finishing: Finishing) -> None:
    """By then, a kubelet that got a response just before has processed it."""
    await finishing.update(A | B, B)
    assert (finishing.advertised, finishing.pauses.begun) == ("a", [GRACE])
    await finishing.pauses.end()
    assert finishing.advertised == ""


async def test_a_device_stays_while_an_allocation_may_concern_it(finishing: Finishing) -> None:
    """Each call in progress counts for as long as it takes, and a second more."""
    first, second = finishing.departures.allocation(), finishing.departures.allocation()
    with first:
        with second:
            await finishing.update(A | B, B)
        await _turns()
        assert (finishing.advertised, finishing.pauses.begun) == ("a", [])
    await _turns()
    assert (finishing.advertised, finishing.pauses.begun) == ("a", [GRACE])
    await finishing.pauses.end()
    assert finishing.advertised == ""


async def test_later_allocations_keep_no_device(finishing: Finishing) -> None:
    """They are rejected if they request the device, so a busy node does not keep former devices forever."""
    await finishing.update(A | B, B)
    with finishing.departures.allocation():
        await finishing.pauses.end()
        assert finishing.advertised == ""


async def test_a_failed_allocation_counts_as_finished(finishing: Finishing) -> None:
    """This holds even if the kubelet has died during the allocation."""
    with suppress(asyncio.CancelledError), finishing.departures.allocation():
        await finishing.update(A | B, B)
        raise asyncio.CancelledError
    await _turns()
    assert finishing.pauses.begun == [GRACE]


async def test_a_device_that_is_back_does_not_leave(finishing: Finishing) -> None:
    """If it disappears again, it stays for the whole time."""
    await finishing.update(A | B, B)
    await finishing.update(B, A | B)
    assert finishing.advertised == ""
    await finishing.update(A | B | C, C)
    assert finishing.advertised == "a b"
    await finishing.pauses.end()
    assert finishing.advertised == "a b"
    await finishing.pauses.end()
    assert finishing.advertised == ""


async def test_the_kubelet_sees_two_lists_and_the_report_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the kubelet the device is unhealthy first and then gone; in the report it is gone at once."""
    monkeypatch.setattr(departures, "GRACE", 0)
    finishing = Setup()
    finishing.scan(Device("a"), Device("b"))
    resource = finishing.resource
    versions, health = [resource.list.version], []
    with resource.allocation(), capture_logs() as log:
        finishing.scan(Device("b"))
        versions.append(resource.list.version)
        assert list(resource.list.devices) == ["b"]
        health.append(_sent(resource.list))
        await _turns()
        assert resource.list.version == versions[-1]
    await resource.wait_beyond(versions[-1])
    versions.append(resource.list.version)
    health.append(_sent(resource.list))
    assert health == [{"b": "Healthy", "a": "Unhealthy"}, {"b": "Healthy"}]
    assert versions == [1, 2, 3]
    assert [line["devices"] for line in log if line["event"] == "devices removed"] == ["a"]


async def test_a_device_that_is_back_is_healthy_at_once() -> None:
    """An adapter that was reset is healthy without any delay."""
    finishing = Setup()
    finishing.scan(Device("a"), Device("b"))
    finishing.scan(Device("b"))
    assert _sent(finishing.resource.list) == {"b": "Healthy", "a": "Unhealthy"}
    finishing.scan(Device("a"), Device("b"))
    assert _sent(finishing.resource.list) == {"a": "Healthy", "b": "Healthy"}


def _sent(devices: DeviceList) -> dict[str, str]:
    """Return the health of each device that a kubelet sees."""
    return {device.ID: device.health for device in encode_list(devices).message.devices}


async def _turns() -> None:
    """Let the event loop run what is due."""
    for _ in range(4):
        await asyncio.sleep(0)
