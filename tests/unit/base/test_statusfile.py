"""The files in which a process reports its state."""

from pathlib import Path
from typing import NoReturn

from structlog.testing import capture_logs

from hub.base.statusfile import StatusFile


def test_a_report_that_cannot_be_built(tmp_path: Path) -> None:
    """It is missing, which is logged once; the process that wanted to write it continues."""

    def build() -> NoReturn:
        raise FileNotFoundError("the working directory was removed")

    file = StatusFile(tmp_path / "report", build)
    with capture_logs() as lines:
        assert [file.write(), file.write()] == ["the working directory was removed"] * 2
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("file not written", "the working directory was removed")
    ]
    assert not (tmp_path / "report").exists()
