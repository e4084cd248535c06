"""What a plugin prefers, before it is compared with the request."""

from itertools import repeat

import pytest

from hub import Device
from hub.plugin.deviceplugin import servicer


def test_an_endless_preference_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin does not use up the memory of its pod; the kubelet chooses instead."""
    monkeypatch.setattr(servicer, "MAX_DEVICES", 10)
    with pytest.raises(ValueError, match="more than 10 devices"):
        servicer._ids(repeat(Device("a")))
