"""A run directory into which a plugin has put something else in place of every file."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.base.exits import Exit
from hub.base.instances import running_hubs, serving
from hub.base.jsonfile import read_file
from hub.base.paths import RunDir
from hub.base.sockets import is_served
from hub.base.untrusted import UnreadableError
from hub.model.hub import InstanceReport
from hub.model.plugin import PluginReport
from tests.harness.hub_process import HubProcess, MakeHub, is_alive, run_hub_to_end, wait_until

STUB = "[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub\n"


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "in the way").touch()


PLANTS: dict[str, Callable[[Path], object]] = {
    "directories": _directory,
    "files": lambda path: path.write_text("garbage"),
    "pipes": os.mkfifo,
    "links to a device": lambda path: path.symlink_to("/dev/zero"),
    "links to nothing": lambda path: path.symlink_to("nothing"),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_something_else_in_place_of_every_file(
    make_hub: MakeHub, directory: Path, plant: Callable[[Path], object]
) -> None:
    """The hub and its plugin keep running, and the probes succeed; both also start again in such a directory."""
    hub = make_hub(STUB).start()
    wait_until(lambda: _works(hub), "the plugin")
    _replace_everything(hub.run_dir, directory / "aside", plant)
    wait_until(lambda: is_served(hub.run_dir / "dphub.http"), "the probes")
    assert is_alive(hub.pid)
    assert len(hub.events("plugin started")) == 1
    hub.kill()
    wait_until(lambda: not is_served(hub.run_dir / "dphub.http"), "the end of the hub")
    _replace_everything(hub.run_dir, directory / "again", plant)
    hub.start()
    wait_until(lambda: _works(hub), "the plugin in the directory as it is now")


@pytest.mark.parametrize("plant", [Path.touch, None], ids=["replaced", "removed"])
def test_locks_are_taken_again(make_hub: MakeHub, plant: Callable[[Path], object] | None) -> None:
    """Other hubs see the hub and its plugin as before, and a second hub of the same name is refused."""
    hub = make_hub(STUB).start()
    run_dir = RunDir(hub.run_dir)
    wait_until(lambda: _works(hub) and serving(run_dir, "stub"), "the plugin")
    before = running_hubs(run_dir), serving(run_dir, "stub")
    for lock in (run_dir.lock, run_dir.serving("stub")):
        lock.unlink()
        if plant:
            plant(lock)
    wait_until(lambda: (running_hubs(run_dir), serving(run_dir, "stub")) == before, "the locks")
    second = run_hub_to_end(*hub.arguments(), cwd=hub.directory)
    assert second.returncode == Exit.ALREADY_RUNNING
    assert _works(hub)
    assert not hub.events("task failed")


def _replace_everything(run_dir: Path, aside: Path, plant: Callable[[Path], object]) -> None:
    """Put something else in place of each file, and of each of the two directories including their contents."""
    aside.mkdir()
    names = [path.name for path in run_dir.iterdir() if not path.name.startswith(".")]
    for name in {*names, "node", "serving"}:
        (run_dir / name).rename(aside / name)
        plant(run_dir / name)


def _works(hub: HubProcess) -> bool:
    """Return whether the hub's sockets are served, and both reports come from running processes."""
    sockets = ("dphub.http", "dphub.control", "dphub.stub.admin")
    try:
        report = read_file(hub.run_dir / "dphub.json", InstanceReport)
        plugin = read_file(hub.run_dir / "dphub.stub.json", PluginReport)
    except UnreadableError:
        return False
    if report is None or plugin is None:
        return False
    served = all(is_served(hub.run_dir / name) for name in sockets)
    (process,) = report.processes
    return served and report.hub.pid == hub.pid and plugin.pid == process.pid and plugin.scanned
