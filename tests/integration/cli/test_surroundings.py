"""What lies around a command, in files that another user may have written, never runs."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.base.exits import Exit
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.hub_process import wait_until

DPHUB = Path(sys.executable).with_name("dphub")
IMPORTED = (
    "hub",
    "plugins",
    "msgspec",
    "click",
    "circus",
    "zmq",
    "yaml",
    "structlog",
    "grpc",
    "asyncio",
    "json",
    "argparse",
)
"""What commands and plugins import, of ours, of others, and of Python."""

STUB = "[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub\n"


@pytest.fixture
def ours() -> Iterator[Path]:
    """A directory of the user who runs the command."""
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def theirs(ours: Path) -> Path:
    """A directory with modules that leave a mark when they run."""
    directory = ours / "theirs"
    directory.mkdir()
    for name in IMPORTED:
        (directory / f"{name}.py").write_text(f"open({str(ours / 'ran')!r}, 'a').write('{name} ')\n")
    return directory


def _what_ran(ours: Path) -> str:
    return (ours / "ran").read_text() if (ours / "ran").exists() else ""


def _dphub(*words: str | Path, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [DPHUB, *map(str, words)],
        cwd=cwd,
        env=_environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )


def _environment(**variables: str) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("DPHUB_")}
    return {**mine, "DPHUB_HTTP": "off", **variables}


@pytest.mark.parametrize(
    "words", [["check"], ["check", "--plugin", "plugins.stub:Stub", "--scan"], ["demo", "--json"]], ids=" ".join
)
def test_no_command_runs_modules_of_its_directory(ours: Path, theirs: Path, words: list[str]) -> None:
    """A command that is started in a directory of another user runs none of that user's modules."""
    done = _dphub(*words, cwd=theirs)
    assert (done.returncode, _what_ran(ours)) == (Exit.OK, ""), done


def test_no_plugin_runs_modules_of_the_hubs_directory(ours: Path, theirs: Path) -> None:
    """Plugins of a hub that is started in a directory of another user run none of that user's modules."""
    (ours / "circus.ini").write_text(STUB)
    flags = ("--config", ours / "circus.ini", "--run-dir", ours / "run", "--plugin-dir", ours / "plugins")
    with subprocess.Popen([DPHUB, "run", *flags], cwd=theirs, env=_environment(), stderr=subprocess.PIPE) as hub:
        try:
            wait_until((ours / "run/dphub.stub.json").exists, "the plugin's report")
        finally:
            hub.send_signal(signal.SIGTERM)
            _, log = hub.communicate(timeout=WAIT_SECONDS)
    assert (hub.returncode, _what_ran(ours)) == (Exit.OK, ""), log
