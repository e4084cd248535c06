"""Flags and variables of a plugin process that can never be valid."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.node import Node


@pytest.fixture
def root() -> Iterator[Path]:
    """Create a directory with a file in it; its path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        (Path(directory) / "file").touch()
        yield Path(directory)


def _run(root: Path, flags: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    given = [flag.format(root=root) for flag in flags]
    command = [sys.executable, "-m", "hub.plugin", "plugins.stub:Stub", f"--plugin-dir={root}/plugins", *given]
    environment = os.environ | variables
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=WAIT_SECONDS)


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
def test_a_path_that_is_not_a_directory(root: Path, flag: str, purpose: str) -> None:
    """One line names the path and its purpose, and nothing is started."""
    ran = _run(root, [flag])
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert flag.partition("=")[2].format(root=root) in line
    assert f"not a directory, expected {purpose}" in line
    assert [path.name for path in root.iterdir()] == ["file"]


STARTED = """import runpy, sys
from pathlib import Path
import hub.base.paths
hub.base.paths.PLUGIN_DIR = Path(sys.argv.pop(1))
runpy.run_module("hub.plugin", run_name="__main__", alter_sys=True)
"""
"""A plugin process whose default plugin directory does not belong to a kubelet that may run on this machine."""


@pytest.mark.parametrize(("named", "hints"), [(False, 1), (True, 0)])
def test_no_kubelet_at_the_default_directory(root: Path, *, named: bool, hints: int) -> None:
    """A plugin started by hand logs once how to choose another directory, unless one was named."""
    environment = {name: value for name, value in os.environ.items() if name != "DPHUB_PLUGIN_DIR"}
    environment |= {"DPHUB_PLUGIN_DIR": str(root / "plugins")} if named else {}
    command = [sys.executable, "-c", STARTED, str(root / "plugins"), "plugins.stub:Stub"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as plugin:
        assert plugin.stderr
        lines = [plugin.stderr.readline()]
        while lines[-1] and "there is no directory" not in lines[-1]:
            lines.append(plugin.stderr.readline())
        plugin.terminate()
    advice = "choose another plugin directory with --plugin-dir or DPHUB_PLUGIN_DIR"
    todo = f"there is no kubelet at {root}/plugins; {advice}"
    assert (sum(todo in line for line in lines), "waiting for kubelet" in lines[-1]) == (hints, True), lines


@pytest.mark.parametrize("instance", ["", "a_b", "a/b", "-", "A"])
def test_a_name_that_no_hub_may_have(root: Path, instance: str) -> None:
    """A name that would make the names of sockets ambiguous, or lead out of the directory, is refused."""
    ran = _run(root, [], DPHUB_INSTANCE=instance)
    assert ran.returncode == 2
    assert "DPHUB_INSTANCE" in ran.stderr


@pytest.mark.parametrize("flags", [["--no-such-flag"], ["--config"], ["another"]])
def test_a_wrong_flag(root: Path, flags: list[str]) -> None:
    """The flag is named, with the usage of the command."""
    ran = _run(root, flags)
    assert ran.returncode == 2
    assert "usage: python -m hub.plugin" in ran.stderr


def test_a_run_directory_that_is_a_link(root: Path) -> None:
    """A plugin that was started by hand writes nothing through it, not even its log."""
    (root / "victim").mkdir(mode=0o755)
    (root / "run").symlink_to("victim")
    ran = _run(root, ["--run-dir={root}/run"])
    assert ran.returncode == 2
    assert "is a link, expected the hub's run directory itself" in ran.stderr
    assert list((root / "victim").iterdir()) == []
    assert (root / "victim").stat().st_mode & 0o777 == 0o755


async def test_only_its_user_reaches_a_plugin_that_was_started_by_hand(node: Node, kubelet: FakeKubelet) -> None:
    """Its sockets have the permissions that they have under a hub, whatever the shell's umask is."""
    node.run_dir.path.chmod(0o755)
    before = os.umask(0)
    try:
        plugin = node.start_plugin()
    finally:
        os.umask(before)
    await kubelet.wait_for(STUB, 4)
    await wait_until(plugin.run_dir.admin_socket("stub").exists, "the admin socket")
    paths = [*node.sockets(), plugin.run_dir.admin_socket("stub")]
    assert [(path.name, path.stat().st_mode & 0o077) for path in paths if path.stat().st_mode & 0o077] == []
    assert node.run_dir.path.stat().st_mode & 0o777 == 0o700
