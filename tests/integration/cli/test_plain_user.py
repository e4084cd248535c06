"""What a user other than root can do, and which flag the error names if something is not allowed."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.base.errors import HubError
from hub.base.exits import Exit
from hub.cli.target import TargetHub
from hub.model.node import NodeStatus
from hub.testing.waiting import wait_until
from tests.integration.cli.plain_user import (
    UNPRIVILEGED_ID,
    command,
    dphub,
    dphub_that_reads_nothing,
    environment,
    needs_setpriv,
    own_directory,
)

pytestmark = needs_setpriv

PLUGIN_DIR_FLAG = "--plugin-dir or DPHUB_PLUGIN_DIR"
RUN_DIR_FLAG = "--run-dir or DPHUB_RUN_DIR"


@pytest.fixture
def own() -> Iterator[Path]:
    """Create a directory of the user's own."""
    with own_directory() as directory:
        yield directory


@pytest.fixture
def closed(own: Path) -> Iterator[Path]:
    """Create a directory that the user may read but not write to."""
    directory = own / "closed"
    directory.mkdir()
    directory.chmod(0o555)
    yield directory
    directory.chmod(0o755)


def _is_one_line(ended: "subprocess.CompletedProcess[str]", code: int, *words: object) -> None:
    assert (ended.returncode, ended.stderr.count("\n")) == (code, 1), ended
    assert [word for word in words if str(word) not in ended.stderr] == [], ended.stderr


@contextmanager
def _running(*words: str | Path) -> Iterator["subprocess.Popen[str]"]:
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command(*words), text=True, env=environment(), **pipes) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


def test_demo() -> None:
    """The demo runs from its first step to its last."""
    ended = dphub("demo", "--json")
    assert (ended.returncode, '"The hub stops"' in ended.stdout) == (Exit.OK, True), ended


def test_check() -> None:
    """The shipped configuration is valid, and the check needs nothing on the node."""
    ended = dphub("check")
    assert ended.returncode == Exit.OK, ended


async def test_a_node_in_the_users_own_directories(own: Path) -> None:
    """A fake kubelet and a hub with all its plugins work there; status and devices show them."""
    directories = ("--run-dir", own / "run", "--plugin-dir", own / "kubelet" / "device-plugins")
    with _running("fake-kubelet", *directories[2:]), _running("run", *directories, "--http", "off"):

        def registered() -> NodeStatus | None:
            try:
                status = TargetHub(own / "run").status()
            except HubError:
                return None
            conditions = [plugin.condition for plugin in status.plugins if not plugin.is_off]
            return status if status.ok and conditions == 3 * ["registered"] else None

        await wait_until(registered, "three plugins that are registered")
        shown = await asyncio.to_thread(dphub, "status", *directories[:2])
        assert (shown.returncode, "No problems" in shown.stdout) == (Exit.OK, True), shown
        shown = await asyncio.to_thread(dphub, "devices", "stub", DPHUB_RUN_DIR=str(own / "run"))
        assert (shown.returncode, "stub-3" in shown.stdout) == (Exit.OK, True), shown


def test_a_run_directory_that_cannot_be_made(own: Path, closed: Path) -> None:
    """For a plain user, as with /run/dphub, the error names the directory, the reason and the flag."""
    ended = dphub("run", "--plugin-dir", own, "--run-dir", closed / "run")
    why = f"cannot be used as the run directory: Permission denied; choose another with {RUN_DIR_FLAG}"
    _is_one_line(ended, Exit.USAGE, closed / "run", why)


def test_a_plugin_directory_that_is_closed(own: Path, closed: Path) -> None:
    """Plugins could not create their sockets there, so nothing is started."""
    if os.geteuid() == 0:
        os.chown(closed, 0, 0)
    ended = dphub("run", "--plugin-dir", closed, "--run-dir", own / "run")
    _is_one_line(ended, Exit.USAGE, closed, "plugins cannot create sockets in it", PLUGIN_DIR_FLAG)
    assert not (own / "run").exists()


def test_a_kubelet_in_a_directory_that_is_closed(own: Path, closed: Path) -> None:
    """The error names each of the kubelet's two directories, with the flag that changes it."""
    ended = dphub("fake-kubelet", "--plugin-dir", closed)
    _is_one_line(ended, Exit.USAGE, closed, "not writable", "--plugin-dir")
    ended = dphub("fake-kubelet", "--plugin-dir", closed / "device-plugins")
    _is_one_line(ended, Exit.USAGE, closed / "device-plugins", "cannot be created: Permission denied", "--plugin-dir")
    ended = dphub("fake-kubelet", "--plugin-dir", own, "--pod-resources-socket", closed / "pods" / "kubelet.sock")
    _is_one_line(ended, Exit.USAGE, closed / "pods", "cannot be created", "--pod-resources-socket")


@pytest.mark.parametrize("words", [["status"], ["devices"], ["logs"], ["cordon", "stub-1"]])
def test_a_run_directory_of_another_user(own: Path, words: list[str]) -> None:
    """The error names the owner and what to do, even where a directory above it is closed."""
    run_dir = own / "run"
    (run_dir / "below").mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(run_dir, 0, 0)
    run_dir.chmod(0o700 if os.geteuid() == 0 else 0)
    try:
        ended = dphub_that_reads_nothing(*words, "--run-dir", run_dir)
        _is_one_line(ended, Exit.USAGE, run_dir, "permission denied: it belongs to user", RUN_DIR_FLAG)
        ended = dphub_that_reads_nothing(*words, "--run-dir", run_dir / "below")
        _is_one_line(ended, Exit.USAGE, run_dir / "below", "Permission denied", RUN_DIR_FLAG)
    finally:
        run_dir.chmod(0o700)


def test_a_run_directory_that_is_not_there(own: Path) -> None:
    """The error says that no hub has run there, and names the flag for another directory."""
    ended = dphub("status", "--run-dir", own / "none")
    _is_one_line(ended, Exit.USAGE, f"no hub has ever run in {own / 'none'}", RUN_DIR_FLAG)


async def test_a_port_that_is_taken(own: Path) -> None:
    """The plugins are served anyway; log and status name the flag."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        directories = ("--run-dir", own / "run", "--plugin-dir", own)
        with _running("run", *directories, "--http", address):
            log = own / "run" / "dphub.log"
            flag = "--http or DPHUB_HTTP"
            await wait_until(lambda: log.exists() and flag in log.read_text(), "a line of the log that names the flag")
            shown = await asyncio.to_thread(dphub, "status", *directories[:2])
            assert f"cannot listen on {address}: Address already in use" in shown.stdout
            assert flag in shown.stdout


def test_a_directory_for_temporary_files_that_cannot_be_used(own: Path) -> None:
    """The demo reports that, and names the variable."""
    deep = own / ("d" * 90)
    deep.mkdir()
    if os.geteuid() == 0:
        os.chown(deep, *[own.stat().st_uid] * 2)
    _is_one_line(dphub("demo", TMPDIR=str(deep)), Exit.USAGE, "TMPDIR", deep, "too long")
    assert list(deep.iterdir()) == []


LINKS = "mkdir {plugin_dir}/d; cd {plugin_dir}/d; ln -s $OWN/shared a; ln -s $OWN/shared/notes b; chmod 500 ."
"""Code that leaves links where the user's process may not delete them."""


def test_a_plugin_that_leaves_links_where_nothing_can_be_deleted(own: Path) -> None:
    """The check that cleans up after the plugin changes nothing where the links lead."""
    (own / "shared").mkdir()
    (own / "shared" / "notes").touch()
    paths = (own / "shared", own / "shared" / "notes")
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    for path, mode in zip(paths, (0o755, 0o644), strict=True):
        path.chmod(mode)
    dphub("verify", "--rule", "registers", "--", "sh", "-c", LINKS, TMPDIR=str(own), OWN=str(own))
    for left in own.glob("dpv-*/device-plugins/d"):
        left.chmod(0o700)
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o755, 0o644]
