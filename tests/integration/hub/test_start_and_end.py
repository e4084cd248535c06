"""A hub starts and exits as an administrator and a container runtime expect."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from hub._version import __version__
from hub.base.exits import Exit
from tests.harness.hub_process import (
    HubProcess,
    MakeHub,
    ignoring_sigterm,
    is_alive,
    wait_ignoring_sigterm,
    wait_until,
    watcher,
)
from tests.harness.preloaded.protocol import HUB

AS_SUBREAPER = "import ctypes; ctypes.CDLL(None).prctl(36, 1); "  # PR_SET_CHILD_SUBREAPER: the hub inherits orphans


def test_starts_all_and_stops_all(make_hub: MakeHub) -> None:
    """All plugins are started; SIGTERM stops them all; the exit code is 0; the log has one line for each event."""
    hub = make_hub(watcher("a") + watcher("b")).start()
    hub.wait_plugins("a", "b")
    pids = [hub.plugin_pid("a"), hub.plugin_pid("b")]
    assert hub.stop() == Exit.OK
    assert not any(is_alive(pid) for pid in pids)
    said = [(event["event"], event.get("plugin"), event.get("pid")) for event in hub.events()]
    assert said[0] == ("hub started", None, None)
    assert set(said[1:3]) == {("plugin started", "a", pids[0]), ("plugin started", "b", pids[1])}
    assert said[3] == ("hub stopping", None, None)
    assert set(said[4:6]) == {("plugin stopped", "a", pids[0]), ("plugin stopped", "b", pids[1])}
    assert said[6:] == [("hub stopped", None, None)]
    started = hub.events("hub started")[0]
    assert started["version"] == __version__
    assert started["config"] == str(hub.config)
    assert started["plugin_dir"] == str(hub.plugin_dir)
    assert started["run_dir"] == str(hub.run_dir)


SOCKETS = {"dphub.control", "dphub.events", "dphub.http", "external.sock"}


def test_a_clean_end_leaves_no_socket(make_hub: MakeHub) -> None:
    """No socket is left on which no process listens; the files that show the last known state are kept."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    wait_until(lambda: _sockets(hub) == SOCKETS, "the hub listens")
    assert hub.stop() == Exit.OK
    assert _sockets(hub) == set()
    assert (hub.run_dir / "dphub.json").exists()


def _sockets(hub: HubProcess) -> set[str]:
    return {path.name for path in hub.run_dir.iterdir() if path.is_socket()}


def test_sigint_is_a_clean_stop(make_hub: MakeHub) -> None:
    """Ctrl-C in a terminal stops the hub as SIGTERM does."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    assert hub.stop(signal.SIGINT) == Exit.OK
    assert hub.events("hub stopping")[0]["reason"] == "SIGINT"


def test_a_sigint_that_is_ignored_stays_ignored(make_hub: MakeHub) -> None:
    """A script's background hub does not receive the terminal's Ctrl-C; SIGTERM stops it as promptly as usual."""
    code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {HUB}"
    hub = make_hub(watcher("a")).start(code=code)
    hub.wait_plugins("a")
    os.kill(hub.pid, signal.SIGINT)
    assert hub.stop() == Exit.OK
    assert [event["reason"] for event in hub.events("hub stopping")] == ["SIGTERM"]


@pytest.mark.parametrize("words", [("quit",), ("quit", "--waiting")])
def test_quit_is_a_clean_stop(make_hub: MakeHub, words: tuple[str, ...]) -> None:
    """`circusctl quit` is answered, and the hub exits with 0."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    assert hub.ask(*words) == "ok"
    assert hub.wait_for_exit() == Exit.OK
    assert not is_alive(hub.plugin_pid("a"))


def test_sigterm_in_the_middle_of_a_restart(make_hub: MakeHub, directory: Path) -> None:
    """A SIGTERM that comes while a plugin is being restarted is not lost, and nothing is started after it."""
    hub = make_hub(watcher("a", ignoring_sigterm(directory, grace=2)) + watcher("b")).start()
    wait_ignoring_sigterm(hub)
    hub.wait_plugins("b")
    assert hub.ask("restart", "a") == "ok"
    assert hub.stop() == Exit.OK
    assert len(hub.events("plugin started", plugin="a")) == 1
    assert not is_alive(hub.plugin_pid("a"))


def test_signals_while_stopping_change_nothing(make_hub: MakeHub, directory: Path) -> None:
    """A second and a third signal neither shorten the grace time nor break the stop."""
    hub = make_hub(watcher("a", ignoring_sigterm(directory, grace=1))).start()
    wait_ignoring_sigterm(hub)
    os.kill(hub.pid, signal.SIGTERM)
    hub.wait_event("hub stopping")
    os.kill(hub.pid, signal.SIGTERM)
    os.kill(hub.pid, signal.SIGINT)
    assert hub.wait_for_exit() == Exit.OK
    assert len(hub.events("hub stopping")) == len(hub.events("hub stopped")) == 1
    assert "Traceback" not in hub.text()


def test_a_plugin_that_does_not_stop_is_killed(make_hub: MakeHub, directory: Path) -> None:
    """After its grace time a plugin is killed, with its children, and the log says so."""
    hub = make_hub(watcher("a", ignoring_sigterm(directory, grace=0.2))).start()
    wait_ignoring_sigterm(hub)
    family = wait_until(lambda: psutil.Process(hub.plugin_pid("a")).children(), "the plugin has a child")
    assert hub.ask("stop", "a", "--waiting") == "ok"
    assert hub.events("plugin stopped", plugin="a")[0]["signal"] == "SIGKILL"
    assert len(hub.events("plugin stop timed out", plugin="a")) == 1
    wait_until(lambda: not any(is_alive(child.pid) for child in family), "its children are gone")


def test_plugins_end_with_a_killed_hub(make_hub: MakeHub) -> None:
    """Plugins of a killed hub exit, so they do not keep their resources from the next hub."""
    hub = make_hub(watcher("a") + watcher("b")).start()
    hub.wait_plugins("a", "b")
    os.kill(hub.pid, signal.SIGKILL)
    hub.wait_for_exit()
    wait_until(lambda: not is_alive(hub.plugin_pid("a")) and not is_alive(hub.plugin_pid("b")), "plugins gone")


def test_orphans_are_reaped(make_hub: MakeHub, directory: Path) -> None:
    """As process 1, the hub inherits orphans, and leaves no zombies."""
    orphan = directory / "orphan"
    script = directory / "plugin.sh"
    script.write_text(f"(sh -c 'echo $$ > {orphan}; exec sleep 0.3' &)\nexec sleep 1000\n")
    hub = make_hub(watcher("a", f"cmd = sh {script}")).start(code=AS_SUBREAPER + HUB)
    pid = int(wait_until(lambda: orphan.exists() and orphan.read_text().strip(), "an orphaned process"))
    wait_until(lambda: not psutil.pid_exists(pid), "the orphan is gone, and no zombie")
    assert hub.ask("status") == "a: active"
    assert len(hub.events()) == 2
