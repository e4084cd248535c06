"""The file with the summary of the status."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from hub.base.paths import RunDir
from hub.model.hub import HubReport, InstanceReport
from hub.status.reader import Reader
from hub.supervisor.summaryfile import SummaryFile


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    """Create the run directory of a hub without plugins."""
    run_dir = RunDir(tmp_path)
    hub = HubReport("1", os.getpid(), 1, "dphub", "circus.ini", "/plugins", "/")
    run_dir.hub_report.write_bytes(msgspec.json.encode(InstanceReport(hub)))
    return run_dir


def test_its_time_shows_that_the_hub_runs(run_dir: RunDir) -> None:
    """An update without a change replaces nothing, but makes the file recent; only its user can read it."""
    file = SummaryFile(run_dir, Reader(run_dir))
    file.update()
    first = run_dir.summary.stat()
    assert first.st_mode & 0o777 == 0o600
    os.utime(run_dir.summary, (1, 1))
    file.update()
    second = run_dir.summary.stat()
    assert (first.st_ino, run_dir.summary.read_text()) == (second.st_ino, "plugins ok\n")
    assert second.st_mtime >= first.st_mtime


def test_a_file_that_is_removed_or_replaced(run_dir: RunDir) -> None:
    """It is written again, and never through a link that another process puts there."""
    file = SummaryFile(run_dir, Reader(run_dir))
    file.update()
    run_dir.summary.unlink()
    file.update()
    assert run_dir.summary.read_text() == "plugins ok\n"
    other = run_dir.path / "other"
    other.write_text("mine")
    run_dir.summary.unlink()
    run_dir.summary.symlink_to(other)
    file.update()
    assert not run_dir.summary.is_symlink()
    assert (run_dir.summary.read_text(), other.read_text()) == ("plugins ok\n", "mine")


async def test_a_stopped_hub_removes_the_file(run_dir: RunDir) -> None:
    """A hub removes it when it stops, so that nothing mistakes it for the state of the node."""
    keeping = asyncio.create_task(SummaryFile(run_dir, Reader(run_dir)).keep())
    await asyncio.sleep(0)
    assert run_dir.summary.exists()
    keeping.cancel()
    await asyncio.wait([keeping])
    assert not run_dir.summary.exists()


def test_a_report_that_cannot_be_read(run_dir: RunDir) -> None:
    """The file keeps its old time, because the state of the node is unknown."""
    file = SummaryFile(run_dir, Reader(run_dir))
    file.update()
    os.utime(run_dir.summary, (1, 1))
    run_dir.hub_report.write_text("{}")
    file.update()
    assert run_dir.summary.stat().st_mtime == 1
    run_dir.hub_report.unlink()
    file.update()
    assert run_dir.summary.stat().st_mtime == 1
