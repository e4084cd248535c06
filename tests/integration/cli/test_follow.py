"""`dphub logs -f` ends when what it follows ends."""

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from hub.base.exits import Exit
from hub.base.instances import acquire_hub_lock
from hub.base.paths import RunDir
from hub.model.hub import HubReport, InstanceReport
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.processes import started

PIPES = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}

LAST = {"event": "hub stopped", "level": "info", "timestamp": "2026-01-01T00:00:01Z"}


def _write_last_line(run_dir: RunDir, hub: ExitStack) -> None:
    """Write the hub's last log line, and stop the hub."""
    with run_dir.hub_log.open("a") as log:
        log.write(json.dumps(LAST) + "\n")
    hub.close()


def _remove(run_dir: RunDir, _hub: ExitStack) -> None:
    """Remove the run directory of a running hub."""
    shutil.rmtree(run_dir.path)


@pytest.mark.parametrize(("ends", "last"), [(_write_last_line, "hub stopped"), (_remove, "hub started")])
async def test_it_ends_with_the_hub(directory: Path, ends: Callable[[RunDir, ExitStack], None], last: str) -> None:
    """The command prints the last line and a message; it also exits when the run directory is removed."""
    run_dir = RunDir(directory / "run")
    run_dir.create()
    hub = ExitStack()
    with hub:
        hub.enter_context(acquire_hub_lock(run_dir))
        run_dir.hub_report.write_bytes(msgspec.json.encode(InstanceReport(HubReport("1", 1, 0, "dphub", "", "", ""))))
        run_dir.hub_log.write_text(json.dumps(LAST | {"event": "hub started"}) + "\n")
        command = (sys.executable, "-m", "hub", "logs", "-f", "--json", "--run-dir", str(run_dir.path))
        async with started(*command, **PIPES) as process, asyncio.timeout(WAIT_SECONDS):
            assert process.stdout
            lines = [await process.stdout.readline()]
            ends(run_dir, hub)
            rest, error = await process.communicate()
            lines += rest.splitlines()
            assert json.loads(lines[-1])["event"] == last
            assert error.decode() == f"There is no running hub in {run_dir.path}.\n"
            assert process.returncode == Exit.FAILED
