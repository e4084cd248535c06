"""One scan of a plugin's devices."""

from collections.abc import Iterator
from itertools import count

import pytest

from hub import Device, Plugin
from hub.plugin.devices import scan


class Endless(Plugin):
    """A plugin whose code never stops yielding devices."""

    resource = "example.com/endless"

    def devices(self) -> Iterator[Device]:
        """Yield them."""
        return (Device(f"d{number}") for number in count())


def test_endless_devices_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin does not use up the node's memory, and the status says why it has no devices."""
    monkeypatch.setattr(scan, "MAX_DEVICES", 10)
    found = scan.scan(Endless())
    assert (found.failed, found.fault) == (True, True)
    assert "more than 10 devices" in found.reason
