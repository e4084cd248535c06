"""One scan of a plugin's devices."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import pytest

from hub import Device, Excluded, NoDevices, Plugin, Unmatched
from hub.plugin.devices import scan


class Endless(Plugin):
    """A plugin whose code never stops yielding devices."""

    resource = "example.com/endless"

    def devices(self) -> Iterator[Device]:
        """Yield an endless number of devices."""
        return (Device(f"d{number}") for number in count())


def test_endless_devices_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin does not use up the node's memory, and the status says why it has no devices."""
    monkeypatch.setattr(scan, "MAX_DEVICES", 10)
    found = scan.scan(Endless(), prepares=True)
    assert (found.failed, found.fault) == (True, True)
    assert "more than 10 devices" in found.reason


class EndlessNames(Plugin):
    """A plugin whose loop never ends."""

    def resources(self) -> Iterator[str]:  # type: ignore[override]
        """Yield an endless number of names."""
        return (f"example.com/r{number}" for number in count())


def test_endless_resources_are_an_error() -> None:
    """Like endless devices, they are an error."""
    found = scan.scan(EndlessNames(), prepares=True)
    assert (found.failed, found.fault) == (True, True)
    assert "more than 1000 resources" in found.reason


class Prepared(Plugin):
    """A plugin that prepares the node, in which one device fails."""

    resource = "example.com/prepared"
    found: Iterable[object] = (Device("a"), Excluded("b", "broken"), Device("c"), "d")

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[list[str]] = []

    def devices(self) -> Iterator[Device | Excluded]:
        """Yield what `found` contains."""
        yield from self.found  # type: ignore[misc]

    def prepare(self, devices: Sequence[Device]) -> Iterator[Device]:
        """Fail for one device."""
        self.prepared.append([device.id for device in devices])
        return (device.with_fault("no file" if device.id == "c" else "") for device in devices)


def test_the_node_is_prepared_for_the_devices() -> None:
    """A device for which preparation failed is unhealthy; a failure without a device is reported separately."""
    plugin = Prepared()
    (found,) = scan.scan(plugin, prepares=True).resources.values()
    assert plugin.prepared == [["a", "c"]]
    assert {name: device.unhealthy for name, device in found.devices.items()} == {"a": "", "c": "no file"}
    assert len(found.problems) == 1


def test_a_scan_that_only_looks_prepares_nothing() -> None:
    """This scan finds the same devices."""
    plugin = Prepared()
    (found,) = scan.scan(plugin, prepares=False).resources.values()
    assert (plugin.prepared, list(found.devices)) == ([], ["a", "c"])


def test_a_node_without_devices_is_prepared_too() -> None:
    """Files of devices that are gone can be removed; after a failed scan nothing is done."""

    class Empty(Prepared):
        error: Exception = NoDevices("none here")

        def devices(self) -> Iterator[Device | Excluded]:
            raise self.error

    plugin = Empty()
    assert scan.scan(plugin, prepares=True).reason == "none here"
    assert plugin.prepared == [[]]
    plugin.error = OSError("cannot look")
    assert scan.scan(plugin, prepares=True).failed
    assert plugin.prepared == [[]]


def test_a_node_that_cannot_be_prepared() -> None:
    """The scan fails, and the reason names the method."""

    class Failing(Prepared):
        def prepare(self, devices: Sequence[Device]) -> Iterator[Device]:
            raise OSError(f"no room for {len(devices)}")

    found = scan.scan(Failing(), prepares=True)
    assert found.failed
    assert found.reason.startswith("prepare() failed at ")


class Described(Plugin):
    """A plugin with three resources, and settings of which some match nothing."""

    found: Iterable[object] = ()
    error: Exception | None = None

    def resources(self) -> Sequence[str]:
        """Return all three resources."""
        return ["example.com/a", "example.com/b", "example.com/c"]

    def devices(self) -> Iterator[Device | Excluded | Unmatched]:
        """Yield what a test needs, and raise its error."""
        yield from self.found  # type: ignore[misc]
        if self.error:
            raise self.error


NOTHING = Unmatched("no file matches /dev/x*", "example.com/a")


def test_what_was_found_before_there_were_no_devices_counts() -> None:
    """Excluded hardware and settings are shown in addition to the reason why there is no device."""
    plugin = Described()
    plugin.found, plugin.error = (
        [Excluded("x", "broken"), Device("y"), NOTHING, "z"],
        NoDevices("all broken", fault=True),
    )
    found = scan.scan(plugin, prepares=True)
    assert (found.reason, found.fault, found.failed) == ("all broken", True, False)
    assert (found.excluded, found.unmatched) == ((Excluded("x", "broken"),), (NOTHING,))
    assert [device for each in found.resources.values() for device in each.devices] == []


def test_a_resource_without_devices_has_its_own_reason() -> None:
    """It says which settings match nothing; other resources have the reason of the whole plugin, if there is one."""
    plugin = Described()
    also = Unmatched("no USB device\nhas serial 1", "example.com/a")
    of_b, of_none = Unmatched("no file matches /dev/y", "example.com/b"), Unmatched("exclude matches nothing")
    plugin.found = [NOTHING, also, of_b, of_none, NOTHING, Device("b", "example.com/b")]
    found = scan.scan(plugin, prepares=True)
    reasons = {name: each.reason for name, each in found.resources.items()}
    first = "no file matches /dev/x*; no USB device has serial 1"
    assert reasons == {"example.com/a": first, "example.com/b": "", "example.com/c": ""}
    assert len(found.unmatched) == 4
    plugin.error = NoDevices("no such hardware")
    reasons = {name: each.reason for name, each in scan.scan(plugin, prepares=True).resources.items()}
    assert (reasons["example.com/a"], reasons["example.com/c"]) == (first, "no such hardware")


def test_many_settings_that_match_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason lists the first of them."""
    monkeypatch.setattr(scan, "MAX_REASONS", 2)
    plugin = Described()
    plugin.found = [Unmatched(f"no {number}", "example.com/a") for number in range(5)]
    found = scan.scan(plugin, prepares=False)
    assert found.resources["example.com/a"].reason == "no 0; no 1; 3 more settings without a match"
