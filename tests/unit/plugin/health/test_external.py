"""What other programs on the node report about devices."""

import itertools
import os
from datetime import datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from hub.api.device import Device
from hub.plugin.health.keys import physical_key, share_key
from hub.plugin.health.record import CORDON, EXTERNAL, RESET, Health
from hub.plugin.health.store import DeviceHealth, HealthStore
from tests.unit.plugin.health.external_reports import DEVICE, GPU, OTHER, Clock, at, make_store, say

NAMES = ("share-0", "GPU-1", "0000:07:00.0", "card0", f"{GPU} share-0")


@pytest.mark.parametrize("name", NAMES)
def test_a_device_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    """It is unhealthy from then on, with the program and its reason; no other device is."""
    store = make_store(tmp_path)
    changes: list[None] = []
    store.subscribe(lambda: changes.append(None))
    say(tmp_path, device=name)
    store.refresh_external()
    health = store.health_of(GPU, DEVICE)
    assert health[:2] == (Health.UNHEALTHY, "reported by memory-test: row 7 is bad")
    assert (health.source, bool(health.since)) == (EXTERNAL, True)
    assert store.health_of(GPU, OTHER) == DeviceHealth()
    store.refresh_external()
    assert changes == [None]


def test_from_the_start(tmp_path: Path) -> None:
    """A device with a report is not offered while a plugin is starting, not even for a moment."""
    say(tmp_path)
    assert make_store(tmp_path).health_of(GPU, DEVICE).health is Health.UNHEALTHY


def test_a_device_that_is_renamed(tmp_path: Path) -> None:
    """A report stays with the device that it named first, whichever device has the name later.

    It does so as long as its file is there and names the same device, even if the file is replaced.
    """
    path = say(tmp_path, device="card0")
    store = make_store(tmp_path)
    assert store.health_of(GPU, DEVICE).health is Health.UNHEALTHY
    renamed = replace(DEVICE, attributes={"name": "x"})
    other = replace(OTHER, attributes={"name": "card0"})
    for until in (None, "2999-01-01T00:00:00Z"):
        say(tmp_path, device="card0", until=until)
        store.refresh_external()
        assert store.health_of(GPU, other) == DeviceHealth()
        assert store.health_of(GPU, renamed).health is Health.UNHEALTHY
    say(tmp_path, "b.json", device="card0")
    store.refresh_external()
    assert store.health_of(GPU, other).health is Health.UNHEALTHY
    path.unlink()
    store.refresh_external()
    assert store.health_of(GPU, renamed) == DeviceHealth()
    say(tmp_path, "b.json", device="x")
    store.refresh_external()
    assert store.health_of(GPU, renamed).health is Health.UNHEALTHY
    assert store.health_of(GPU, other) == DeviceHealth()


def test_a_name_of_several_devices(tmp_path: Path) -> None:
    """Without a PCI address, a report applies to each device with the name, such as all shares of one device."""
    say(tmp_path, device="card0")
    store = make_store(tmp_path)
    for name in ("a", "b"):
        assert store.health_of(GPU, Device(name, attributes={"name": "card0"})).health is Health.UNHEALTHY


def test_a_file_that_is_removed(tmp_path: Path) -> None:
    """The device then has the health that it would have without the report."""
    path = say(tmp_path)
    store = make_store(tmp_path)
    path.unlink()
    store.refresh_external()
    assert store.health_of(GPU, DEVICE) == DeviceHealth()


def test_a_report_expires(tmp_path: Path) -> None:
    """It ends at its time, even if its program is gone; the file stays, and has no effect."""
    clock = Clock()
    path = say(tmp_path, until=at(clock.now + 60))
    store = make_store(tmp_path, clock)
    for passed, health in ((0, Health.UNHEALTHY), (59, Health.UNHEALTHY), (60, Health.HEALTHY), (99, Health.HEALTHY)):
        clock.now, begin = clock.now + passed, clock.now
        store.refresh_external()
        assert store.health_of(GPU, DEVICE).health is health
        clock.now = begin
    assert path.exists()


def test_a_report_that_is_renewed(tmp_path: Path) -> None:
    """With a later end it is the same report, so nothing changes, and nothing is logged."""
    clock = Clock()
    say(tmp_path, until=at(clock.now + 60))
    store = make_store(tmp_path, clock)
    before = store.health_of(GPU, DEVICE)
    changes: list[None] = []
    store.subscribe(lambda: changes.append(None))
    clock.now += 50
    path = say(tmp_path, until=at(clock.now + 60))
    os.utime(path, (clock.now, clock.now))
    store.refresh_external()
    assert (store.health_of(GPU, DEVICE), changes) == (before, [])
    clock.now += 50
    store.refresh_external()
    assert store.health_of(GPU, DEVICE) == before


def _broken(store: HealthStore) -> None:
    store.fail(physical_key(GPU, DEVICE), RESET, "stuck")


def _recovering(store: HealthStore) -> None:
    _broken(store)
    store.begin_recovery(physical_key(GPU, DEVICE), "a reset")


def _cordoned(store: HealthStore) -> None:
    store.set_admin_fault(physical_key(GPU, DEVICE), CORDON, "cordoned: loud")


def test_a_cordon_does_not_hide_a_report(tmp_path: Path) -> None:
    """The device counts as faulty, as it does with a fault of the plugin's own and a cordon."""
    store = make_store(tmp_path)
    _cordoned(store)
    assert store.health_of(GPU, DEVICE).source == CORDON
    say(tmp_path)
    store.refresh_external()
    health = store.health_of(GPU, DEVICE)
    assert (health.source, health.reporters) == (EXTERNAL, ("memory-test",))
    assert health.reason == "cordoned: loud; reported by memory-test: row 7 is bad"
    _broken(store)
    assert store.health_of(GPU, DEVICE).source == RESET


def test_the_programs_that_report_a_device(tmp_path: Path) -> None:
    """Each is named once, without what follows a slash in its source, and whatever their texts are."""
    for number, source in enumerate(("nvsentinel/A/79", "nvsentinel/B", "x; reported by nvsentinel/A", "y" * 200)):
        say(tmp_path, f"{number}.json", source=source, reason="z" * 450)
    store = make_store(tmp_path)
    assert store.health_of(GPU, DEVICE).reporters == ("nvsentinel", "x; reported by nvsentinel", "y" * 100)
    for number in range(50):
        say(tmp_path, f"more-{number}.json", source=f"s{number}")
    store.refresh_external()
    assert len(store.health_of(GPU, DEVICE).reporters) == 8


def _torn(store: HealthStore) -> None:
    store.fail(share_key(GPU, DEVICE), "plugin", "torn")


def test_reports_can_only_make_devices_unhealthy(tmp_path: Path) -> None:
    """Whatever the reports are, a device that is not healthy never becomes healthy, nor loses a reason.

    A device that a valid report names is unhealthy, and all others are as they are without reports.
    """
    number = 0
    causes = {_broken: "stuck", _recovering: "recovering", _cordoned: "cordoned: loud", _torn: "torn"}
    now = Clock().now
    said: tuple[dict[str, str], ...] = (
        *({"device": name} for name in NAMES),
        {"device": "GPU-9"},
        {"device": "nothing"},
        {"until": at(now + 60)},
        {"until": at(now - 60)},
        {"health": "healthy"},
        {"reason": ""},
    )
    all_causes = [each for size in range(len(causes) + 1) for each in itertools.combinations(causes, size)]
    pairs = [each for size in range(3) for each in itertools.combinations(said, size)]
    for present, reports in itertools.product(all_causes, pairs):
        directory = tmp_path / str(number := number + 1)
        directory.mkdir()
        for index, fields in enumerate(reports):
            say(directory, f"{index}.json", **fields)
        with capture_logs():
            without, with_them = make_store(tmp_path / "none", lambda: now), make_store(directory, lambda: now)
        for store in (without, with_them):
            for cause in present:
                cause(store)
        reasons = {causes[cause] for cause in present}
        before, after = without.health_of(GPU, DEVICE), with_them.health_of(GPU, DEVICE)
        assert bool(present) == (before.health is not Health.HEALTHY)
        assert all(reason in before.reason and reason in after.reason for reason in reasons)
        valid = [each for each in reports if _is_valid(each, now)]
        if valid:
            assert after.health is Health.UNHEALTHY
            assert after.reason.startswith(before.reason)
        else:
            assert after == before
        assert with_them.record(physical_key(GPU, DEVICE)) == without.record(physical_key(GPU, DEVICE))


def _is_valid(fields: dict[str, str], now: float) -> bool:
    device = fields.get("device", "GPU-1")
    ended = "until" in fields and datetime.fromisoformat(fields["until"]).timestamp() <= now
    return device in NAMES and not ended and not {"health", "reason"} & fields.keys()
