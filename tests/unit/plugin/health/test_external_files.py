"""Report files that are invalid, too many or too long, and what is left of them."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.model.external import MAX_ENTRIES
from hub.plugin.health import external
from hub.plugin.health.record import EXTERNAL, Health
from hub.plugin.health.store import DeviceHealth
from tests.harness.files import put
from tests.unit.plugin.health.external_reports import DEVICE, GPU, OTHER, Clock, at, make_store, say


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
    """The log names it once, with what is wrong with it; the other files take effect."""
    put(tmp_path / "bad.json", content)
    say(tmp_path)
    with capture_logs() as logs:
        store = make_store(tmp_path)
        store.refresh_external()
    assert store.health_of(GPU, DEVICE).reason == "reported by memory-test: row 7 is bad"
    (event,) = logs
    assert (event["event"], event["file"]) == ("external fault rejected", str(tmp_path / "bad.json"))
    assert problem.lower() in event["reason"].lower()


def test_a_file_that_becomes_bad(tmp_path: Path) -> None:
    """Its previous content remains valid: a program that writes only half a file does not make a device healthy."""
    path = say(tmp_path)
    store = make_store(tmp_path)
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
    path = say(tmp_path)
    place = tmp_path if of_directory else path
    os.chown(place, owner, 0)
    place.chmod(mode | (0o111 if of_directory else 0))
    with capture_logs() as logs:
        store = make_store(tmp_path)
    assert store.health_of(GPU, DEVICE) == DeviceHealth()
    (event,) = logs
    assert event["event"] == ("external faults ignored" if of_directory else "external fault rejected")
    assert str(place) in event["reason"]
    assert ("belongs to" if owner else "writable") in event["reason"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """This holds even for a link to a file of this user."""
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "a.json").symlink_to(say(tmp_path))
    with capture_logs() as logs:
        store = make_store(tmp_path / "faults")
    assert store.health_of(GPU, DEVICE) == DeviceHealth()
    assert "is a link" in logs[0]["reason"]


def test_files_that_are_not_read(tmp_path: Path) -> None:
    """They are those being written, and those not called .json; a directory that does not exist has none."""
    say(tmp_path, ".a.json")
    say(tmp_path, "README")
    with capture_logs() as logs:
        assert make_store(tmp_path).health_of(GPU, DEVICE) == DeviceHealth()
        assert make_store(tmp_path / "missing").health_of(GPU, DEVICE) == DeviceHealth()
    assert logs == []


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a plugin starts, only the first ones by name take effect, and the log says that there are more."""
    monkeypatch.setattr(external, "MAX_FILES", 1)
    say(tmp_path, "a.json")
    say(tmp_path, "b.json", device="GPU-9")
    with capture_logs() as logs:
        store = make_store(tmp_path)
        store.refresh_external()
    assert store.health_of(GPU, DEVICE).source == EXTERNAL
    assert store.health_of(GPU, OTHER) == DeviceHealth()
    assert [each["event"] for each in logs] == ["external faults ignored"]


@pytest.mark.parametrize("most", ["MAX_FILES", "MAX_ENTRIES"])
def test_surplus_files_do_not_displace_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str) -> None:
    """A valid report is in effect as long as its file exists, whatever other programs write, and whatever they call it.

    When it is gone, another one takes its place.
    """
    monkeypatch.setattr(external, most, 2)
    path = say(tmp_path, "m.json")
    store = make_store(tmp_path)
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
        say(tmp_path, "z.json")
        store.refresh_external()
    assert store.health_of(GPU, DEVICE).health is Health.UNHEALTHY


def test_expired_reports_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expired report does not count towards the limit, even if its file is never removed."""
    monkeypatch.setattr(external, "MAX_FILES", 1)
    clock = Clock()
    say(tmp_path, "m.json", until=at(clock.now + 60))
    store = make_store(tmp_path, clock)
    clock.now += 61
    say(tmp_path, "a.json", device="GPU-9")
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

    say(tmp_path, "a.txt")
    monkeypatch.setattr(os, "scandir", endless)
    with capture_logs() as logs:
        store = make_store(tmp_path)
        store.refresh_external()
    assert looked_at <= 2 * (MAX_ENTRIES + 1)
    assert [each["event"] for each in logs] == ["external faults ignored"]


@pytest.mark.parametrize("letter", ["x", "\N{GRINNING FACE}"])
def test_many_reports_about_a_device(tmp_path: Path, letter: str) -> None:
    """Its reason stays short, and says how many more there are: the status of very many shares has room for it."""
    for number in range(128):
        say(tmp_path, f"{number:03}.json", reason=f"{number} {letter * 300}", source="memory-test")
    reason = make_store(tmp_path).health_of(GPU, DEVICE).reason
    assert reason.startswith("reported by memory-test: 0 ")
    shown = reason.count("reported by")
    assert reason.endswith(f"; and {128 - shown} more")
    assert len(reason.encode()) <= external.MAX_REASON + len("; and 128 more")


def test_a_long_report_about_a_device(tmp_path: Path) -> None:
    """Its end is left out."""
    say(tmp_path, source="s" * 1000, reason="r" * 1000)
    reason = make_store(tmp_path).health_of(GPU, DEVICE).reason
    assert reason.endswith("sss...")
    assert len(reason) == external.MAX_REASON


def test_text_for_people_is_one_line(tmp_path: Path) -> None:
    """A reason with line breaks or control characters cannot forge a line of a log or a screen."""
    say(tmp_path, source="a\nb", reason="bad\n\x1b[2J")
    reason = make_store(tmp_path).health_of(GPU, DEVICE).reason
    assert reason.isprintable()
    assert reason.startswith("reported by a b: bad ")


@pytest.mark.parametrize("failing", ["open", "scandir"])
def test_a_node_error_makes_no_device_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """With too many open files, for example, earlier reports remain, and new ones are read once that is over."""
    store = make_store(tmp_path)
    say(tmp_path)
    store.refresh_external()
    say(tmp_path, "b.json", device="GPU-9")

    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        store.refresh_external()
    assert store.health_of(GPU, DEVICE).health is Health.UNHEALTHY
    assert store.health_of(GPU, OTHER) == DeviceHealth()
    store.refresh_external()
    assert store.health_of(GPU, OTHER).health is Health.UNHEALTHY


def test_a_file_with_a_time_before_1970(tmp_path: Path) -> None:
    """The report counts from 1970 at the earliest: other programs get this time, and not all accept a negative one."""
    os.utime(say(tmp_path), (-86400, -86400))
    found = make_store(tmp_path).health_of(GPU, DEVICE)
    assert (found.health, found.since >= 0) == (Health.UNHEALTHY, True)
