"""What other programs on the node report about devices."""

import errno
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from hub.api.device import Device
from hub.api.health import RecoveryPolicy
from hub.plugin.health import external
from hub.plugin.health.keys import physical_key, share_key
from hub.plugin.health.record import CORDON, EXTERNAL, RESET, Health
from hub.plugin.health.store import DeviceHealth, HealthStore
from hub.plugin.ownership import Ownership
from tests.harness.files import put

GPU = "nvidia.com/gpu"
DEVICE = Device("share-0", physical="GPU-1", pci=("0000:07:00.0",), attributes={"name": "card0"})
OTHER = Device("share-9", physical="GPU-9", pci=("0000:09:00.0",), attributes={"name": "card9"})
NAMES = ("share-0", "GPU-1", "0000:07:00.0", "card0", f"{GPU} share-0")


class Clock:
    """Time that a test lets pass; it begins now, because files have times."""

    def __init__(self) -> None:
        self.now = time.time() + 10

    def __call__(self) -> float:
        """The time."""
        return self.now


def _store(directory: Path, clock: Callable[[], float] | None = None) -> HealthStore:
    ownership = Ownership(None, "stub", Path())
    ownership.acquire()
    return HealthStore(None, RecoveryPolicy(), ownership, clock or Clock(), external=directory)


def _say(directory: Path, name: str = "a.json", **fields: object) -> Path:
    """Write a report as a program should: under another name first."""
    path = directory / name
    scratch = directory / ".new"
    scratch.write_text(json.dumps({"device": "GPU-1", "source": "memory-test", "reason": "row 7 is bad", **fields}))
    scratch.replace(path)
    return path


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@pytest.mark.parametrize("name", NAMES)
def test_a_device_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    """It is unhealthy from then on, with the program and its reason; no other device is."""
    store = _store(tmp_path)
    changes: list[None] = []
    store.subscribe(lambda: changes.append(None))
    _say(tmp_path, device=name)
    store.refresh_external()
    health = store.health_of(GPU, DEVICE)
    assert health[:2] == (Health.UNHEALTHY, "reported by memory-test: row 7 is bad")
    assert (health.source, bool(health.since)) == (EXTERNAL, True)
    assert store.health_of(GPU, OTHER) == DeviceHealth()
    store.refresh_external()
    assert changes == [None]


def test_from_the_start(tmp_path: Path) -> None:
    """Not even for a moment is a device offered while a plugin starts."""
    _say(tmp_path)
    assert _store(tmp_path).health_of(GPU, DEVICE).health is Health.UNHEALTHY


def test_a_device_that_is_renamed(tmp_path: Path) -> None:
    """A report stays with the device that it named first, whichever device has the name later.

    It does so as long as its file is there and names the same device, even if the file is replaced.
    """
    path = _say(tmp_path, device="card0")
    store = _store(tmp_path)
    assert store.health_of(GPU, DEVICE).health is Health.UNHEALTHY
    renamed = replace(DEVICE, attributes={"name": "x"})
    other = replace(OTHER, attributes={"name": "card0"})
    for until in (None, "2999-01-01T00:00:00Z"):
        _say(tmp_path, device="card0", until=until)
        store.refresh_external()
        assert store.health_of(GPU, other) == DeviceHealth()
        assert store.health_of(GPU, renamed).health is Health.UNHEALTHY
    _say(tmp_path, "b.json", device="card0")
    store.refresh_external()
    assert store.health_of(GPU, other).health is Health.UNHEALTHY
    path.unlink()
    store.refresh_external()
    assert store.health_of(GPU, renamed) == DeviceHealth()
    _say(tmp_path, "b.json", device="x")
    store.refresh_external()
    assert store.health_of(GPU, renamed).health is Health.UNHEALTHY
    assert store.health_of(GPU, other) == DeviceHealth()


def test_a_name_of_several_devices(tmp_path: Path) -> None:
    """Without a PCI address, a report applies to each device with the name, such as all shares of one device."""
    _say(tmp_path, device="card0")
    store = _store(tmp_path)
    for name in ("a", "b"):
        assert store.health_of(GPU, Device(name, attributes={"name": "card0"})).health is Health.UNHEALTHY


def test_a_file_that_is_removed(tmp_path: Path) -> None:
    """The device then has the health that it has without it."""
    path = _say(tmp_path)
    store = _store(tmp_path)
    path.unlink()
    store.refresh_external()
    assert store.health_of(GPU, DEVICE) == DeviceHealth()


def test_a_report_expires(tmp_path: Path) -> None:
    """It ends at its time, even if its program is gone; the file stays, and has no effect."""
    clock = Clock()
    path = _say(tmp_path, until=_at(clock.now + 60))
    store = _store(tmp_path, clock)
    for passed, health in ((0, Health.UNHEALTHY), (59, Health.UNHEALTHY), (60, Health.HEALTHY), (99, Health.HEALTHY)):
        clock.now, begin = clock.now + passed, clock.now
        store.refresh_external()
        assert store.health_of(GPU, DEVICE).health is health
        clock.now = begin
    assert path.exists()


def test_a_report_that_is_renewed(tmp_path: Path) -> None:
    """With a later end it is the same report, so nothing changes, and nothing is logged."""
    clock = Clock()
    _say(tmp_path, until=_at(clock.now + 60))
    store = _store(tmp_path, clock)
    before = store.health_of(GPU, DEVICE)
    changes: list[None] = []
    store.subscribe(lambda: changes.append(None))
    clock.now += 50
    path = _say(tmp_path, until=_at(clock.now + 60))
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


def _torn(store: HealthStore) -> None:
    store.fail(share_key(GPU, DEVICE), "plugin", "torn")


def test_reports_only_take_health_away(tmp_path: Path) -> None:
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
        {"until": _at(now + 60)},
        {"until": _at(now - 60)},
        {"health": "healthy"},
        {"reason": ""},
    )
    all_causes = [each for size in range(len(causes) + 1) for each in itertools.combinations(causes, size)]
    pairs = [each for size in range(3) for each in itertools.combinations(said, size)]
    for present, reports in itertools.product(all_causes, pairs):
        directory = tmp_path / str(number := number + 1)
        directory.mkdir()
        for index, fields in enumerate(reports):
            _say(directory, f"{index}.json", **fields)
        with capture_logs():
            without, with_them = _store(tmp_path / "none", lambda: now), _store(directory, lambda: now)
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


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "truncated"),
        (b"{}", "missing required field `device`"),
        (b"[" * 4000, "expected `object`"),
        (b'{"device": "GPU-1", "source": "x", "reason": "y", "healthy": true}', "unknown field `healthy`"),
        (b'{"device": "GPU-1", "source": "x", "reason": ""}', "length >= 1"),
        (b'{"device": "GPU-1", "source": "x", "reason": "y", "until": "2030-01-01T00:00:00"}', "timezone"),
        (b'{"device": "GPU-1", "source": "x", "reason": "y", "until": "tomorrow"}', "RFC3339"),
        (b'{"device": "\xff"}', "utf-8"),
        (b" " * 5000, "too large, expected at most 4096 bytes"),
        (None, "not a regular file"),
    ],
    ids=["empty", "nothing", "nested", "healthy", "reason", "timezone", "words", "bytes", "size", "pipe"],
)
def test_a_bad_file_does_not_affect_others(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """The log names it once, with what is wrong with it; the other files count."""
    put(tmp_path / "bad.json", content)
    _say(tmp_path)
    with capture_logs() as logs:
        store = _store(tmp_path)
        store.refresh_external()
    assert store.health_of(GPU, DEVICE).reason == "reported by memory-test: row 7 is bad"
    (event,) = logs
    assert (event["event"], event["file"]) == ("external fault rejected", str(tmp_path / "bad.json"))
    assert problem.lower() in event["reason"].lower()


def test_a_file_that_becomes_bad(tmp_path: Path) -> None:
    """Its previous content remains valid: a program that writes only half a file does not make a device healthy."""
    path = _say(tmp_path)
    store = _store(tmp_path)
    before = store.health_of(GPU, DEVICE)
    path.write_text('{"device": "GPU-')
    with capture_logs() as logs:
        store.refresh_external()
    assert store.health_of(GPU, DEVICE) == before
    assert [each["event"] for each in logs] == ["external fault rejected"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file to another user")
@pytest.mark.parametrize("of_directory", [False, True])
@pytest.mark.parametrize(("owner", "mode"), [(12345, 0o600), (0, 0o622), (0, 0o620)], ids=["owner", "world", "group"])
def test_a_file_that_another_user_may_have_written(
    tmp_path: Path, owner: int, mode: int, *, of_directory: bool
) -> None:
    """It has no effect, and the log gives the reason; this also holds for a directory to which others can add files."""
    path = _say(tmp_path)
    place = tmp_path if of_directory else path
    os.chown(place, owner, 0)
    place.chmod(mode | (0o111 if of_directory else 0))
    with capture_logs() as logs:
        store = _store(tmp_path)
    assert store.health_of(GPU, DEVICE) == DeviceHealth()
    (event,) = logs
    assert event["event"] == ("external faults ignored" if of_directory else "external fault rejected")
    assert str(place) in event["reason"]
    assert ("belongs to" if owner else "writable") in event["reason"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """This holds even for a link to a file of this user."""
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "a.json").symlink_to(_say(tmp_path))
    with capture_logs() as logs:
        store = _store(tmp_path / "faults")
    assert store.health_of(GPU, DEVICE) == DeviceHealth()
    assert "is a link" in logs[0]["reason"]


def test_files_that_are_not_read(tmp_path: Path) -> None:
    """They are those being written, and those not called .json; a directory that does not exist has none."""
    _say(tmp_path, ".a.json")
    _say(tmp_path, "README")
    with capture_logs() as logs:
        assert _store(tmp_path).health_of(GPU, DEVICE) == DeviceHealth()
        assert _store(tmp_path / "missing").health_of(GPU, DEVICE) == DeviceHealth()
    assert logs == []


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a plugin starts, the first by name count, and the log says that there are more."""
    monkeypatch.setattr(external, "MAX_FILES", 1)
    _say(tmp_path, "a.json")
    _say(tmp_path, "b.json", device="GPU-9")
    with capture_logs() as logs:
        store = _store(tmp_path)
        store.refresh_external()
    assert store.health_of(GPU, DEVICE).source == EXTERNAL
    assert store.health_of(GPU, OTHER) == DeviceHealth()
    assert [each["event"] for each in logs] == ["external faults ignored"]


@pytest.mark.parametrize("most", ["MAX_FILES", "MAX_ENTRIES"])
def test_too_many_files_take_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str) -> None:
    """A valid report counts as long as its file exists, whatever other programs write, and whatever they call it.

    When it is gone, another one takes its place.
    """
    monkeypatch.setattr(external, most, 2)
    path = _say(tmp_path, "m.json")
    store = _store(tmp_path)
    for letter in "abcdefghxyz":
        (tmp_path / f"{letter}.json").write_text("garbage")
    with capture_logs():
        store.refresh_external()
        assert store.health_of(GPU, DEVICE).health is Health.UNHEALTHY
        path.unlink()
        store.refresh_external()
        assert store.health_of(GPU, DEVICE) == DeviceHealth()
        for letter in "abcdefghxyz":
            (tmp_path / f"{letter}.json").unlink()
        _say(tmp_path, "z.json")
        store.refresh_external()
    assert store.health_of(GPU, DEVICE).health is Health.UNHEALTHY


def test_reports_that_have_ended_take_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expired report does not count towards the limit, even if its file is never removed."""
    monkeypatch.setattr(external, "MAX_FILES", 1)
    clock = Clock()
    _say(tmp_path, "m.json", until=_at(clock.now + 60))
    store = _store(tmp_path, clock)
    clock.now += 61
    _say(tmp_path, "a.json", device="GPU-9")
    with capture_logs():
        store.refresh_external()
    assert store.health_of(GPU, OTHER).health is Health.UNHEALTHY


def test_a_directory_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever other programs put there, a plugin looks at a limited number of entries, and the log says so once."""
    looked_at = 0
    scandir = os.scandir

    @contextmanager
    def endless(directory: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        def entries() -> Iterator[os.DirEntry[str]]:
            nonlocal looked_at
            with scandir(directory) as found:
                (entry,) = found
            while True:
                looked_at += 1
                yield entry

        yield entries()

    _say(tmp_path, "a.txt")
    monkeypatch.setattr(os, "scandir", endless)
    with capture_logs() as logs:
        store = _store(tmp_path)
        store.refresh_external()
    assert looked_at <= 2 * (external.MAX_ENTRIES + 1)
    assert [each["event"] for each in logs] == ["external faults ignored"]


@pytest.mark.parametrize("letter", ["x", "\N{GRINNING FACE}"])
def test_many_reports_about_a_device(tmp_path: Path, letter: str) -> None:
    """Its reason stays short, and says how many more there are: the status of very many shares has room for it."""
    for number in range(128):
        _say(tmp_path, f"{number:03}.json", reason=f"{number} {letter * 300}", source="memory-test")
    reason = _store(tmp_path).health_of(GPU, DEVICE).reason
    assert reason.startswith("reported by memory-test: 0 ")
    shown = reason.count("reported by")
    assert reason.endswith(f"; and {128 - shown} more")
    assert len(reason.encode()) <= external.MAX_REASON + len("; and 128 more")


def test_a_long_report_about_a_device(tmp_path: Path) -> None:
    """Its end is left out."""
    _say(tmp_path, source="s" * 1000, reason="r" * 1000)
    reason = _store(tmp_path).health_of(GPU, DEVICE).reason
    assert reason.endswith("sss...")
    assert len(reason) == external.MAX_REASON


def test_text_for_people_is_one_line(tmp_path: Path) -> None:
    """A reason with line breaks or control characters cannot forge a line of a log or a screen."""
    _say(tmp_path, source="a\nb", reason="bad\n\x1b[2J")
    reason = _store(tmp_path).health_of(GPU, DEVICE).reason
    assert reason.isprintable()
    assert reason.startswith("reported by a b: bad ")


@pytest.mark.parametrize("failing", ["open", "scandir"])
def test_an_error_of_the_node_gives_no_health_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """With too many open files, for example, earlier reports remain, and new ones are read once that is over."""
    store = _store(tmp_path)
    _say(tmp_path)
    store.refresh_external()
    _say(tmp_path, "b.json", device="GPU-9")

    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        store.refresh_external()
    assert store.health_of(GPU, DEVICE).health is Health.UNHEALTHY
    assert store.health_of(GPU, OTHER) == DeviceHealth()
    store.refresh_external()
    assert store.health_of(GPU, OTHER).health is Health.UNHEALTHY
