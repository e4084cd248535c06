"""The health of all devices of a plugin, kept in a file."""

from pathlib import Path

from hub.api.device import Device
from hub.api.health import Policy
from hub.base.processid import ProcessIdentity
from hub.plugin.health.record import Health
from hub.plugin.health.store import PLUGIN, HealthBook, Verdict, physical_key, share_key

ODD, EVEN = "a.com/odd", "a.com/even"


class Clock:
    """Time that a test lets pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def _book(policy: Policy | None = None, clock: Clock | None = None, path: Path | None = None) -> HealthBook:
    return HealthBook(path, policy or Policy(), lambda: None, clock or Clock())


def test_devices_of_the_same_id_in_two_resources_are_two() -> None:
    """What is wrong with one says nothing about the other, and neither flaps because the other is well."""
    book = _book()
    for _ in range(10):
        book.hear(ODD, [Device("x-0", unhealthy="burnt")])
        book.hear(EVEN, [Device("x-0")])
    assert book.verdict(ODD, Device("x-0")) == Verdict(Health.UNHEALTHY, "burnt", 100, PLUGIN)
    assert book.verdict(EVEN, Device("x-0")) == Verdict()


def test_shares_of_a_physical_device_stand_and_fall_together() -> None:
    """In whatever resource they are; what a plugin says of one share is about that share."""
    book = _book()
    book.fail(physical_key(ODD, Device("a", physical="card")), "reset", "stuck")
    book.hear(ODD, [Device("a", physical="card", unhealthy="torn")])
    assert book.verdict(ODD, Device("a", physical="card")).reason == "torn; stuck"
    assert book.verdict(EVEN, Device("b", physical="card")).reason == "stuck"
    assert book.verdict(EVEN, Device("b")).reason == ""


def test_a_probe_that_is_given_up_leaves_the_reason() -> None:
    """And the time since when it stands."""
    clock = Clock()
    book = _book(clock=clock)
    book.fail("x", "reset", "no answer")
    clock.now = 200
    book.try_again("x", "a reset")
    assert book.record("x").state is Health.RECOVERING
    book.give_up("x")
    assert (book.record("x").state, book.record("x").reason, book.record("x").since) == (
        Health.UNHEALTHY,
        "no answer",
        100,
    )


def test_time_passes() -> None:
    """A recovery ends after the quiet time, and is forgotten after the period."""
    clock = Clock()
    book = _book(Policy(quiet=30, period=3600), clock)
    device = Device("x")
    book.hear(ODD, [Device("x", unhealthy="burnt")])
    book.hear(ODD, [device])
    clock.now += 29
    book.pass_time()
    assert book.verdict(ODD, device).health is Health.RECOVERING
    clock.now += 1
    book.pass_time()
    assert book.verdict(ODD, device) == Verdict()
    assert book.record(share_key(ODD, device)).recoveries == [130]
    clock.now += 3600
    book.pass_time()
    assert book.record(share_key(ODD, device)).recoveries == []


async def test_the_process_that_holds_a_device_is_kept(tmp_path: Path) -> None:
    """Across a restart of the plugin."""
    path = tmp_path / "stub.health.json"
    holder = ProcessIdentity(7, 4711)
    book = _book(path=path)
    book.fail("x", "reset", "does not end", holder)
    book.save()
    assert _book(path=path).failing("reset")["x"].process == holder
