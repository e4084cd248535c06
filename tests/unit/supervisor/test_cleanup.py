"""Removal of files that no hub uses."""

import os
from pathlib import Path

from hub.base.paths import RunDir
from hub.supervisor.cleanup import remove_stale_files


def test_reports_that_a_killed_hub_was_writing(tmp_path: Path) -> None:
    """The next hub removes the unfinished file of its socket, and nothing that another program may still write."""
    run_dir = RunDir(tmp_path)
    run_dir.external_faults.mkdir()
    stale, new, foreign, report = (
        run_dir.external_faults / name for name in (".socket-a.json.7", ".socket-b.json.8", ".memory", "socket-a.json")
    )
    for path in (stale, new, foreign, report):
        path.write_text("{}")
        if path != new:
            os.utime(path, (1, 1))
    remove_stale_files(run_dir, tmp_path)
    assert sorted(run_dir.external_faults.iterdir()) == sorted([new, foreign, report])
