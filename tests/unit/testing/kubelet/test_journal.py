"""The fake kubelet's record of what plugins sent."""

import tracemalloc

import pytest

from hub.testing.kubelet import AdvertisedDevice, ListUpdate, Registered, journal
from hub.testing.kubelet.journal import Journal


def test_only_the_latest_messages_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins that register or send lists without pause do not use up the memory of the kubelet's process."""
    monkeypatch.setattr(journal, "KEPT_BYTES", 1 << 20)
    kept = Journal()
    tracemalloc.start()
    try:
        for number in range(5000):
            kept.lists.append(ListUpdate("example.com/a", number, _devices(number % 50), 10 * (number % 50), 1))
            kept.registrations.append(Registered("example.com/a", "a.sock", 1, number, f"{number}" + "x" * 1000))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 2 << 20
    lists, registrations = list(kept.lists), list(kept.registrations)
    for messages in (lists, registrations):
        assert [each.time for each in messages] == list(range(5000 - len(messages), 5000))
        assert 10 < len(messages) < 5000


def _devices(count: int) -> tuple[AdvertisedDevice, ...]:
    return tuple(AdvertisedDevice(f"{number:08}", healthy=True, numa=(number,)) for number in range(count))
