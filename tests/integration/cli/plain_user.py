"""Commands that an unprivileged user runs, whichever user runs the tests."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.testing.waiting import WAIT_SECONDS

UNPRIVILEGED_ID = 65534

needs_setpriv = pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root needs setpriv to become a plain user"
)

_BECOME = (
    "setpriv",
    f"--reuid={UNPRIVILEGED_ID}",
    f"--regid={UNPRIVILEGED_ID}",
    "--clear-groups",
    # The user may read everything, because interpreter and project may be in root's home, but gains no write access.
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)

_READ_NOTHING = f"""
import os, sys
import hub.cli.commands.devices, hub.cli.commands.logs, hub.cli.commands.admin, hub.cli.commands.status
from hub.cli import main
if os.geteuid() == 0:
    os.setgroups([]); os.setgid({UNPRIVILEGED_ID}); os.setuid({UNPRIVILEGED_ID})
main()
"""


def command(*words: str | Path) -> list[str]:
    """Return the command line that runs `dphub` as an unprivileged user."""
    become = _BECOME if os.geteuid() == 0 else ()
    return [*become, sys.executable, "-m", "hub", *map(str, words)]


def environment(**variables: str) -> dict[str, str]:
    """Return this process's variables without those of a hub."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("DPHUB_")}
    return {**mine, "DPHUB_LOG_FORMAT": "json", **variables}


def dphub(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to completion as an unprivileged user."""
    return _run(command(*words), **variables)


def dphub_that_reads_nothing(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a user who cannot read directories of other users; all modules are loaded beforehand."""
    return _run([sys.executable, "-c", _READ_NOTHING, *map(str, words)])


@contextmanager
def own_directory() -> Iterator[Path]:
    """Create a directory that belongs to the unprivileged user, with a short path."""
    directory = Path(tempfile.mkdtemp(prefix="dp", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            os.chown(directory, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
        yield directory
    finally:
        shutil.rmtree(directory)


def _run(words: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
        env=environment(**variables),
        cwd=Path(__file__).parents[3],
    )
