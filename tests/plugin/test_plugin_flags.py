"""Flags and variables of a plugin process that can never be right."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import PATIENCE


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory with a file in it, whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        (Path(directory) / "file").touch()
        yield Path(directory)


def _run(root: Path, flags: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    given = [flag.format(root=root) for flag in flags]
    command = [sys.executable, "-m", "hub.plugin", "plugins.stub:Stub", f"--plugin-dir={root}/plugins", *given]
    environment = os.environ | variables
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize(
    ("flag", "purpose"),
    [
        ("--plugin-dir={root}/file", "the kubelet's plugin directory"),
        ("--run-dir={root}/file", "the hub's run directory"),
        ("--run-dir={root}/nowhere", "the hub's run directory"),
        ("--host-root={root}/file", "the node's file system"),
        ("--host-root={root}/nowhere", "the node's file system"),
    ],
)
def test_a_directory_that_is_none(root: Path, flag: str, purpose: str) -> None:
    """The path and what it is for are said in one line; nothing is started."""
    ran = _run(root, [flag])
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert flag.partition("=")[2].format(root=root) in line
    assert f"is no directory, expected {purpose}" in line
    assert [path.name for path in root.iterdir()] == ["file"]


@pytest.mark.parametrize("instance", ["", "a_b", "a/b", "-", "A"])
def test_a_name_that_no_hub_may_have(root: Path, instance: str) -> None:
    """It would make the names of sockets ambiguous, or leave the directory."""
    ran = _run(root, [], DPHUB_INSTANCE=instance)
    assert ran.returncode == 2
    assert "DPHUB_INSTANCE" in ran.stderr


@pytest.mark.parametrize("flags", [["--no-such-flag"], ["--config"], ["another"]])
def test_a_wrong_flag(root: Path, flags: list[str]) -> None:
    """It is named, with how the command is used."""
    ran = _run(root, flags)
    assert ran.returncode == 2
    assert "usage: python -m hub.plugin" in ran.stderr
