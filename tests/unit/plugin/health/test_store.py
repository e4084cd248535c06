"""The health of all devices of a plugin, kept in a file."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.api.device import Device
from hub.api.health import RecoveryPolicy
from hub.base.processid import ProcessId
from hub.plugin.health.keys import physical_key, share_key
from hub.plugin.health.record import Health
from hub.plugin.health.store import PLUGIN, DeviceHealth, HealthStore
from hub.plugin.ownership import Ownership
from tests.harness.files import put

ODD, EVEN = "a.com/odd", "a.com/even"


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def _book(policy: RecoveryPolicy | None = None, clock: Clock | None = None, path: Path | None = None) -> HealthStore:
    ownership = Ownership(None, "stub", Path())
    ownership.acquire()
    return HealthStore(path, policy or RecoveryPolicy(), ownership, clock or Clock())


def test_devices_of_the_same_id_in_two_resources_are_two() -> None:
    """A fault in one does not affect the other, and neither flaps because the other is healthy."""
    book = _book()
    for _ in range(10):
        book.report(ODD, [Device("x-0", unhealthy="burnt")])
        book.report(EVEN, [Device("x-0")])
    assert book.health_of(ODD, Device("x-0")) == DeviceHealth(Health.UNHEALTHY, "burnt", 100, PLUGIN)
    assert book.health_of(EVEN, Device("x-0")) == DeviceHealth()


def test_shares_of_a_physical_device_share_its_health() -> None:
    """This holds in any resource; what a plugin reports about one share affects only that share."""
    book = _book()
    book.fail(physical_key(ODD, Device("a", physical="card")), "reset", "stuck")
    book.report(ODD, [Device("a", physical="card", unhealthy="torn")])
    assert book.health_of(ODD, Device("a", physical="card")).reason == "torn; stuck"
    assert book.health_of(EVEN, Device("b", physical="card")).reason == "stuck"
    assert book.health_of(EVEN, Device("b")).reason == ""


def test_an_aborted_probe_keeps_the_reason() -> None:
    """The reason keeps its time, too."""
    clock = Clock()
    book = _book(clock=clock)
    book.fail("x", "reset", "no answer")
    clock.now = 200
    book.begin_recovery("x", "a reset")
    assert book.record("x").state is Health.RECOVERING
    book.abort_recovery("x")
    assert (book.record("x").state, book.record("x").reason, book.record("x").since) == (
        Health.UNHEALTHY,
        "no answer",
        100,
    )


def test_time_passes() -> None:
    """A recovery ends after the recovery time, and is forgotten after the period."""
    clock = Clock()
    book = _book(RecoveryPolicy(stable_for=30, window=3600), clock)
    device = Device("x")
    book.report(ODD, [Device("x", unhealthy="burnt")])
    book.report(ODD, [device])
    clock.now += 29
    book.advance()
    assert book.health_of(ODD, device).health is Health.RECOVERING
    clock.now += 1
    book.advance()
    assert book.health_of(ODD, device) == DeviceHealth()
    assert book.record(share_key(ODD, device)).recoveries == [130]
    clock.now += 3600
    book.advance()
    assert book.record(share_key(ODD, device)).recoveries == []


async def test_the_process_that_holds_a_device_is_kept(tmp_path: Path) -> None:
    """It is kept across a restart of the plugin."""
    path = tmp_path / "stub.health.json"
    holder = ProcessId(7, 4711)
    book = _book(path=path)
    book.fail("x", "reset", "does not end", holder)
    book.save()
    assert _book(path=path).failing("reset")["x"].process == holder


@pytest.mark.parametrize(
    "content",
    [b'{"x": {"faults": {"reset": {"reason": "\xff", "since": 1}}}}', b'{"x": ' * 100_000, b"{", b"", b"[1]", None],
    ids=["not UTF-8", "nested", "cut off", "empty", "something else", "a pipe"],
)
def test_a_file_that_cannot_be_read_is_renamed(tmp_path: Path, content: bytes | None) -> None:
    """The plugin serves as if there had been no fault, and logs the file's new path."""
    path = tmp_path / "stub.health.json"
    put(path, content)
    with capture_logs() as log:
        book = _book(path=path)
    assert book.failing("reset") == {}
    assert [(line["event"], line["kept"]) for line in log] == [
        ("health file unreadable", str(tmp_path / "stub.health.unreadable"))
    ]
    assert not path.exists()
