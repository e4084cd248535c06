"""The file with the latest log lines of a process."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.base.logfile import MAX_BYTES, LogFile, rotated


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "in the way").touch()


PLANTS = pytest.mark.parametrize(
    "plant",
    [_directory, os.mkfifo, lambda path: path.symlink_to("victim")],
    ids=["directory", "pipe", "link"],
)
"""Things that another process may have put in place of a file."""


@PLANTS
def test_what_is_in_the_place_of_a_log_file_is_replaced(tmp_path: Path, plant: Callable[[Path], object]) -> None:
    """A process does not wait for a pipe's reader, or write through a link, and its lines are kept."""
    path = tmp_path / "dphub.log"
    victim = tmp_path / "victim"
    victim.touch()
    plant(path)
    LogFile(path).write({"event": "hub started"})
    assert stat.S_ISREG(path.lstat().st_mode)
    assert (path.read_text(), victim.read_text()) == ('{"event": "hub started"}\n', "")


@PLANTS
def test_what_is_in_the_place_of_the_previous_file_is_replaced(
    tmp_path: Path, plant: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """The file stays below its limit, and each line is kept."""
    path = tmp_path / "dphub.log"
    plant(rotated(path))
    log = LogFile(path)
    for number in range(15):
        log.write({"event": f"{number} {'x' * (MAX_BYTES // 10)}"})
    assert path.stat().st_size < MAX_BYTES
    kept = f"{rotated(path).read_text()}{path.read_text()}".splitlines()
    assert [json.loads(line)["event"].split()[0] for line in kept] == [str(number) for number in range(15)]
    assert capsys.readouterr().err == ""


def test_a_line_that_cannot_be_kept_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard error reports it, with the reason."""
    path = tmp_path / "missing" / "dphub.log"
    LogFile(path).write({"event": "hub started"})
    assert f"log line not kept in {path}" in capsys.readouterr().err
