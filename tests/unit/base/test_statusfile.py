"""The files in which a process reports its state."""

import asyncio
import os
from pathlib import Path
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from hub.base.statusfile import WRITE_DELAY, StatusFile
from hub.testing.waiting import WAIT_SECONDS


def test_a_report_that_cannot_be_built(tmp_path: Path) -> None:
    """It is missing, which is logged once; the process that tried to write it continues."""

    def build() -> NoReturn:
        raise FileNotFoundError("the working directory was removed")

    file = StatusFile(tmp_path / "report", build)
    with capture_logs() as lines:
        assert [file.write(), file.write()] == ["the working directory was removed"] * 2
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("file not written", "the working directory was removed")
    ]
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("fault", ["removed", "garbage", "link", "pipe", "truncated"])
async def test_what_is_done_to_a_report(tmp_path: Path, fault: str) -> None:
    """A report that another process has removed, replaced or changed is written again; nothing waits for its reader."""
    path = tmp_path / "report"
    file = StatusFile(path, lambda: {"state": "registered"})
    file.write()
    content = path.read_bytes()
    if fault == "truncated":
        os.truncate(path, 0)
    else:
        path.unlink()
    if fault == "garbage":
        path.write_bytes(b"\xff" * len(content))
    elif fault == "link":
        path.symlink_to("/dev/zero")
    elif fault == "pipe":
        os.mkfifo(path)

    file.restore()
    async with asyncio.timeout(WAIT_SECONDS):
        while not path.is_file() or path.is_symlink() or path.read_bytes() != content:  # noqa: ASYNC110 - no event
            await asyncio.sleep(WRITE_DELAY)


async def test_a_report_that_is_intact(tmp_path: Path) -> None:
    """It is not written again, so that nothing wakes the processes that watch it."""
    path = tmp_path / "report"
    file = StatusFile(path, lambda: {"state": "registered"})
    file.write()
    before = path.stat().st_ino
    for _ in range(3):
        file.restore()
        await asyncio.sleep(2 * WRITE_DELAY)
    assert path.stat().st_ino == before


def test_the_time_of_a_file(tmp_path: Path) -> None:
    """It is set without writing the file, unless another process has removed it, or the last write failed.

    A file that is written for this has the given time, too.
    """
    path = tmp_path / "report"
    content = {"state": "registered"}
    file = StatusFile(path, lambda: content)
    file.write()
    before = path.stat().st_ino
    file.touch(1000)
    file.touch(2000)
    assert (path.stat().st_ino, path.stat().st_mtime) == (before, 2000)
    path.unlink()
    file.touch(3000)
    assert path.stat().st_size
    assert path.stat().st_mtime == 3000
    StatusFile(path, lambda: content).touch(4000)
    assert path.stat().st_mtime == 4000


def test_the_time_of_a_file_of_another_process(tmp_path: Path) -> None:
    """It is left alone by a process that has nothing to write."""
    path = tmp_path / "report"
    StatusFile(path, lambda: {"state": "registered"}).touch(1000)
    StatusFile(path, lambda: None).touch(2000)
    assert path.stat().st_mtime == 1000


async def test_a_file_whose_time_was_set_is_intact(tmp_path: Path) -> None:
    """It does not count as changed by another process."""
    path = tmp_path / "report"
    file = StatusFile(path, lambda: {"state": "registered"})
    file.write()
    file.touch(1000)
    file.restore()
    await asyncio.sleep(2 * WRITE_DELAY)
    assert path.stat().st_mtime == 1000
