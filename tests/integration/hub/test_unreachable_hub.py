"""Commands after files of a running hub have been removed or replaced."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.base.exits import Exit
from hub.testing.plugin import environment_without_hub
from tests.harness.hub_process import HubProcess, MakeHub, wait_until, watcher

CONFIG = watcher("stub", "cmd = python -m hub.plugin plugins.stub:Stub\n")


def _remove(path: Path) -> None:
    path.unlink()


def _replace(path: Path) -> None:
    path.unlink()
    path.touch(mode=0o600)


LOST: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "the socket": (_remove, ["dphub.control"]),
    "the socket and the lock": (_remove, ["dphub.control", "dphub.lock"]),
    "both, replaced": (_replace, ["dphub.control", "dphub.lock"]),
}


def _cli(hub: HubProcess, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hub", *words, "--run-dir", str(hub.run_dir)]
    environment = environment_without_hub() | {"COLUMNS": "300"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("lose", "names"), LOST.values(), ids=LOST)
def test_a_hub_whose_socket_is_gone(make_hub: MakeHub, lose: Callable[[Path], None], names: list[str]) -> None:
    """The status is the running hub's, with the problem first, and a command that needs the socket names it."""
    hub: HubProcess = make_hub(CONFIG).start()
    wait_until(lambda: _cli(hub, "health").returncode == Exit.OK, "the hub")
    for name in names:
        lose(hub.run_dir / name)
    status = _cli(hub, "status")
    assert status.returncode == Exit.FAILED
    assert "nothing listens on its control socket" in " ".join(status.stdout.split())
    assert f"process {hub.pid}" in status.stdout
    assert "not running" not in status.stdout
    for command in (["restart", "stub"], ["stop", "stub"], ["reload"]):
        done = _cli(hub, *command)
        assert (done.returncode, "nothing listens on its control socket" in done.stderr) == (Exit.USAGE, True), done
    assert [_cli(hub, command).returncode for command in ("devices", "health")] == [Exit.OK, Exit.OK]
    hub.kill()
    wait_until(lambda: "the hub is not running" in _cli(hub, "status").stdout, "the end of the hub")
