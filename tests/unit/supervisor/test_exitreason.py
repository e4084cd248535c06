"""Why a plugin process exited, if it logged the reason."""

import json
import time
from pathlib import Path

from hub.supervisor.exitreason import LONGEST, last_error


def _write(log: Path, *events: dict[str, str | float]) -> None:
    """Write events of this age in seconds, each an error unless it has a different level."""
    lines = []
    for event in events:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - float(event.pop("age", 0))))
        lines.append(json.dumps({"event": "plugin not started", "level": "error", "timestamp": when, **event}))
    log.write_text("\n".join(lines) + "\n")


def test_the_latest_error_counts(tmp_path: Path) -> None:
    """It counts whatever was logged after it; of an exception, the line that names it is used."""
    log = tmp_path / "log"
    traceback = "Traceback (most recent call last):\n  File x, line 1\nValueError: no such thing\n"
    _write(log, {"reason": "another"}, {"event": "plugin crashed", "exception": traceback}, {"level": "info"})
    assert last_error(log, time.time() - 5) == "ValueError: no such thing"
    _write(log, {"event": "only an event"})
    assert last_error(log, time.time() - 5) == "only an event"


def test_old_errors_are_ignored(tmp_path: Path) -> None:
    """A crash is not explained by an error from the previous process, or by one from hours ago."""
    log = tmp_path / "log"
    _write(log, {"reason": "old", "age": 60}, {"level": "warning", "reason": "a warning"})
    assert last_error(log, time.time() - 10) == ""


def test_files_that_are_odd(tmp_path: Path) -> None:
    """A missing file, lines that were cut off, and an endless reason are handled."""
    log = tmp_path / "log"
    assert last_error(log, 0) == ""
    _write(log, {"reason": "x" * 100_000})
    assert last_error(log, 0) == ""
    _write(log, {"reason": "x" * 1_000})
    with log.open("a") as file:
        file.write('{"event": "cut o')
    assert last_error(log, 0) == "x" * LONGEST + " ..."


def test_a_date_without_a_time_zone(tmp_path: Path) -> None:
    """A line whose date does not have a time zone is skipped, as is every line that is not from the hub's plugins."""
    log = tmp_path / "log"
    _write(log, {"reason": "the cause"}, {"timestamp": "0001-01-01T00:00:00"})
    assert last_error(log, time.time() - 5) == "the cause"
