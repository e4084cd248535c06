"""The file with the latest log lines of a process."""

import os
from pathlib import Path

import pytest

from hub.base.logfile import LogFile


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_is_not_a_log_file_stops_nothing(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A process waits for no reader of a pipe, and writes nothing through a link; standard error has the line."""
    path = tmp_path / "dphub.log"
    victim = tmp_path / "victim"
    victim.touch()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(victim)
    LogFile(path).write({"event": "hub started"})
    assert f"log line not kept in {path}" in capsys.readouterr().err
    assert victim.read_bytes() == b""
