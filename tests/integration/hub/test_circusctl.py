"""circusctl's commands, most of which fail with plain circusd."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from hub.base.exits import Exit
from tests.harness.hub_process import (
    QUIET,
    MakeHub,
    ignoring_sigterm,
    is_alive,
    wait_ignoring_sigterm,
    wait_until,
    watcher,
)


def test_restart_of_one_touches_no_other(make_hub: MakeHub) -> None:
    """`circusctl restart a` restarts only a."""
    hub = make_hub(watcher("a") + watcher("b")).start()
    hub.wait_plugins("a", "b")
    old, other = hub.plugin_pid("a"), hub.plugin_pid("b")
    assert hub.ask("restart", "a", "--waiting") == "ok"
    assert not is_alive(old)
    assert hub.plugin_pid("a") != old
    assert hub.plugin_pid("b") == other
    assert is_alive(other)


@pytest.mark.parametrize("words", [("restart",), ("reload",), ("restart", "*"), ("reload", "--sequential")])
def test_restart_of_all_keeps_the_hub(make_hub: MakeHub, words: tuple[str, ...]) -> None:
    """Without a name, all plugins are restarted, and the hub keeps running, whereas circus would exit."""
    hub = make_hub(watcher("a") + watcher("b")).start()
    hub.wait_plugins("a", "b")
    assert hub.ask(*words, "--waiting") == "ok"
    assert [len(hub.events("plugin started", plugin=name)) for name in ("a", "b")] == [2, 2]
    assert hub.ask("status") == "a: active\nb: active"
    assert hub.stop() == Exit.OK


def test_stop_and_start_of_all(make_hub: MakeHub) -> None:
    """Without a name, all plugins are stopped, or started."""
    hub = make_hub(watcher("a") + watcher("b")).start()
    hub.wait_plugins("a", "b")
    assert hub.ask("stop", "--waiting") == "ok"
    assert hub.ask("status") == "a: stopped\nb: stopped"
    assert hub.ask("start", "--waiting") == "ok"
    assert hub.ask("status") == "a: active\nb: active"


def test_reload_never_runs_two_processes(make_hub: MakeHub, directory: Path) -> None:
    """`circusctl reload a` starts the new process after the old one has exited; circus starts it before that."""
    hub = make_hub(watcher("a", ignoring_sigterm(directory, grace=0.3))).start()
    wait_ignoring_sigterm(hub)
    assert hub.ask("reload", "a", "--waiting") == "ok"
    said = [event["event"] for event in hub.events(plugin="a")]
    assert said == ["plugin started", "plugin stop timed out", "plugin stopped", "plugin started"]


def test_commands_on_one_plugin_take_turns(make_hub: MakeHub, directory: Path) -> None:
    """Commands that arrive while a plugin is stopping are executed in order, so the last one decides."""
    hub = make_hub(watcher("a", ignoring_sigterm(directory, grace=0.5))).start()
    wait_ignoring_sigterm(hub)
    assert hub.ask("restart", "a") == "ok"
    assert hub.ask("stop", "a", "--waiting") == "ok"
    assert hub.ask("status", "a") == "stopped"
    assert not is_alive(hub.plugin_pid("a"))


def test_autostart_waits_for_an_administrator(make_hub: MakeHub) -> None:
    """A plugin with `autostart = false` starts on an administrator's command."""
    hub = make_hub(watcher("a") + watcher("later", QUIET + "autostart = false")).start()
    hub.wait_plugins("a")
    assert hub.ask("status") == "a: active\nlater: stopped"
    assert hub.ask("start", "later", "--waiting") == "ok"
    assert hub.ask("status", "later") == "active"


def test_add_and_rm(make_hub: MakeHub) -> None:
    """A plugin can be added and removed by hand; it is checked and supervised like any other."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    assert hub.ask("add", "--start", "b", "sleep", "1000") == "ok"
    hub.wait_plugins("b")
    os.kill(hub.plugin_pid("b"), signal.SIGKILL)
    hub.wait_event("plugin started", plugin="b", count=2)
    for words, reason in {
        ("add", "b", "sleep 1"): "already exists",
        ("add", "../b", "sleep 1"): "letters",
        ("add", "c", "'"): "quotation",
        ("rm", "c"): "not found",
    }.items():
        refused = hub.ctl(*words)
        assert refused.returncode != 0
        assert reason in refused.stderr
    assert "from getting its resources" in hub.call("rm", name="b", nostop=True)["reason"]
    pid = hub.plugin_pid("b")
    assert hub.ask("rm", "b", "--waiting") == "ok"
    assert not is_alive(pid)
    assert hub.ask("status") == "a: active"


def test_a_plugin_stays_one_process(make_hub: MakeHub) -> None:
    """No command starts two processes of a plugin, or leaves it without one while it is reported as running."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    for words in (("incr", "a"), ("decr", "a"), ("set", "a", "numprocesses", "2")):
        hub.ctl(*words)
    assert len(hub.events("plugin started")) == 1
    assert hub.ask("numprocesses", "a") == "1"
    assert len(psutil.Process(hub.pid).children()) == 1


def test_set_restarts_with_the_option(make_hub: MakeHub) -> None:
    """Options can be changed by hand; variables are added to the plugin's, and it is restarted with them."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    assert hub.call("set", name="a", options={"env": {"EXTRA": "1"}})["status"] == "ok"
    hub.wait_event("plugin started", plugin="a", count=2)
    env = wait_until(lambda: psutil.Process(hub.plugin_pid("a")).environ(), "its environment")
    assert (env["EXTRA"], env["DPHUB_PLUGIN"]) == ("1", "a")
    assert hub.ask("set", "a", "graceful_timeout", "3") == "ok"
    assert hub.ask("get", "a", "graceful_timeout") == "graceful_timeout: 3.0"


def test_other_commands_get_a_response(make_hub: MakeHub, directory: Path) -> None:
    """Other requests of circusctl are answered, even about a plugin that is not running."""
    hub = make_hub(watcher("a") + watcher("bad", f"cmd = {directory}/none")).start()
    hub.wait_plugins("a")
    pid = hub.plugin_pid("a")
    assert hub.ask("list") == "a,bad"
    assert hub.ask("list", "a") == str(pid)
    assert hub.ask("numwatchers") == "2"
    assert str(pid) in hub.ask("stats")
    assert "cmd: sleep 1000" in hub.ask("options", "a")
    assert hub.ask("signal", "a", "usr1") == "ok"
    assert hub.wait_event("plugin exited", plugin="a")["signal"] == "SIGUSR1"
    hub.wait_event("plugin started", plugin="a", count=2)
    assert hub.ask("kill", "a", "--waiting") == "ok"
    hub.wait_event("plugin exited", plugin="a", count=2)
    assert hub.ctl("status", "none").returncode != 0
    assert hub.ctl("restart", "none").returncode != 0
    assert hub.stop() == Exit.OK
