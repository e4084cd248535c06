"""The hub as an administrator and a container runtime know it: real processes, real signals, the real circusctl.

Plain circusd fails most of these.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from hub._version import __version__
from hub.base.exits import Exit
from hub.base.paths import RunDir
from hub.status.reader import Reader
from hub.supervisor.circus.arbiter import REAP_INTERVAL
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.hub_process import HUB, STUBBORN, HubProcess, is_alive, seconds_between, wait_until

MakeHub = Callable[[str], HubProcess]

QUIET = "cmd = sleep 1000\n"
CRASHING = "cmd = sh -c 'test -e {directory}/mended || exit 1; exec sleep 1000'\n"
PATIENT = f"""
from hub.supervisor import backoff
def crashed(self):
    delay, self._next = self._next, 1000.0
    return delay
backoff.BackOff.crashed = crashed
{HUB}
"""
"""The hub, where a plugin waits so long after its second crash that no test sees the end of it."""

AS_SUBREAPER = "import ctypes; ctypes.CDLL(None).prctl(36, 1); "  # PR_SET_CHILD_SUBREAPER: orphans come to the hub


def watcher(name: str, rest: str = QUIET) -> str:
    """One section of circus.ini."""
    return f"[watcher:{name}]\n{rest}\n"


def stubborn(directory: Path, grace: float) -> str:
    """The keys of a plugin that does not stop when asked to."""
    script = directory / "stubborn.sh"
    script.write_text(STUBBORN)
    return f"cmd = sh {script}\ngraceful_timeout = {grace}\n"


def wait_stubborn(hub: HubProcess, count: int = 1) -> None:
    """Wait until the stubborn plugin does not listen any more."""
    wait_until(lambda: hub.text().count("up\n") >= count, "the stubborn plugin is up")


def dphub(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run([sys.executable, "-m", "hub", *words], capture_output=True, text=True, check=False)


# Start and end.


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


def test_sigint_is_a_clean_stop(make_hub: MakeHub) -> None:
    """Ctrl-C in a terminal stops the hub as SIGTERM does."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    assert hub.stop(signal.SIGINT) == Exit.OK
    assert hub.events("hub stopping")[0]["reason"] == "SIGINT"


def test_a_sigint_that_is_ignored_stays_ignored(make_hub: MakeHub) -> None:
    """A hub in the background of a script does not hear the terminal's Ctrl-C; SIGTERM stops it as ever."""
    code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {HUB}"
    hub = make_hub(watcher("a")).start(code=code)
    hub.wait_plugins("a")
    os.kill(hub.pid, signal.SIGINT)
    assert hub.stop() == Exit.OK
    assert [event["reason"] for event in hub.events("hub stopping")] == ["SIGTERM"]


@pytest.mark.parametrize("words", [("quit",), ("quit", "--waiting")])
def test_quit_is_a_clean_stop(make_hub: MakeHub, words: tuple[str, ...]) -> None:
    """`circusctl quit` is answered, and the hub ends with 0."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    assert hub.ask(*words) == "ok"
    assert hub.wait_ended() == Exit.OK
    assert not is_alive(hub.plugin_pid("a"))


def test_sigterm_in_the_middle_of_a_restart(make_hub: MakeHub, directory: Path) -> None:
    """A SIGTERM that comes while a plugin is being restarted is not lost, and nothing is started after it."""
    hub = make_hub(watcher("a", stubborn(directory, grace=2)) + watcher("b")).start()
    wait_stubborn(hub)
    hub.wait_plugins("b")
    assert hub.ask("restart", "a") == "ok"
    assert hub.stop() == Exit.OK
    assert len(hub.events("plugin started", plugin="a")) == 1
    assert not is_alive(hub.plugin_pid("a"))


def test_signals_while_stopping_change_nothing(make_hub: MakeHub, directory: Path) -> None:
    """An impatient second and third signal neither shorten the grace time nor break the stop."""
    hub = make_hub(watcher("a", stubborn(directory, grace=1))).start()
    wait_stubborn(hub)
    os.kill(hub.pid, signal.SIGTERM)
    hub.wait_event("hub stopping")
    os.kill(hub.pid, signal.SIGTERM)
    os.kill(hub.pid, signal.SIGINT)
    assert hub.wait_ended() == Exit.OK
    assert len(hub.events("hub stopping")) == len(hub.events("hub stopped")) == 1
    assert "Traceback" not in hub.text()


def test_a_plugin_that_does_not_stop_is_killed(make_hub: MakeHub, directory: Path) -> None:
    """After its grace time a plugin is killed, with its children, and the log says so."""
    hub = make_hub(watcher("a", stubborn(directory, grace=0.2))).start()
    wait_stubborn(hub)
    family = wait_until(lambda: psutil.Process(hub.plugin_pid("a")).children(), "the plugin has a child")
    assert hub.ask("stop", "a", "--waiting") == "ok"
    assert hub.events("plugin stopped", plugin="a")[0]["signal"] == "SIGKILL"
    assert len(hub.events("plugin stop timed out", plugin="a")) == 1
    wait_until(lambda: not any(is_alive(child.pid) for child in family), "its children are gone")


def test_plugins_end_with_a_killed_hub(make_hub: MakeHub) -> None:
    """Plugins of a hub that was killed do not live on and hold their resources against the next hub."""
    hub = make_hub(watcher("a") + watcher("b")).start()
    hub.wait_plugins("a", "b")
    os.kill(hub.pid, signal.SIGKILL)
    hub.wait_ended()
    wait_until(lambda: not is_alive(hub.plugin_pid("a")) and not is_alive(hub.plugin_pid("b")), "plugins gone")


def test_orphans_are_reaped(make_hub: MakeHub, directory: Path) -> None:
    """As process 1 the hub inherits orphans, and leaves no zombie of them."""
    orphan = directory / "orphan"
    script = directory / "plugin.sh"
    script.write_text(f"(sh -c 'echo $$ > {orphan}; exec sleep 0.3' &)\nexec sleep 1000\n")
    hub = make_hub(watcher("a", f"cmd = sh {script}")).start(code=AS_SUBREAPER + HUB)
    pid = int(wait_until(lambda: orphan.exists() and orphan.read_text().strip(), "there is an orphan"))
    wait_until(lambda: not psutil.pid_exists(pid), "the orphan is gone, and no zombie")
    assert hub.ask("status") == "a: active"
    assert len(hub.events()) == 2


# Crashes.


def test_a_killed_plugin_is_back_at_once(make_hub: MakeHub) -> None:
    """A plugin that dies is seen by SIGCHLD, not by a poll that may come seconds later. No other is touched."""
    names = ("a", "b", "c", "d")
    hub = make_hub("".join(map(watcher, names))).start()
    hub.wait_plugins(*names)
    other = hub.plugin_pid("d")
    begin = time.monotonic()
    for name in names[:3]:
        os.kill(hub.plugin_pid(name), signal.SIGKILL)
        hub.wait_event("plugin started", plugin=name, count=2)
        exited = hub.events("plugin exited", plugin=name)[0]
        assert (exited["signal"], exited["restart_in_seconds"]) == ("SIGKILL", 0)
    # Three polls would take two of their intervals at least.
    assert time.monotonic() - begin < REAP_INTERVAL
    assert hub.plugin_pid("d") == other
    assert is_alive(other)


def test_a_crash_is_answered_while_another_plugin_stops(make_hub: MakeHub, directory: Path) -> None:
    """A plugin that is slow to stop keeps no other plugin from coming back, and no command from being served."""
    hub = make_hub(watcher("slow", stubborn(directory, grace=1000)) + watcher("b") + watcher("c")).start()
    hub.wait_plugins("b", "c")
    wait_stubborn(hub)
    assert hub.ask("restart", "slow") == "ok"
    os.kill(hub.plugin_pid("b"), signal.SIGKILL)
    hub.wait_event("plugin started", plugin="b", count=2)
    assert hub.ask("restart", "c", "--waiting") == "ok"
    assert len(hub.events("plugin started", plugin="c")) == 2
    assert hub.ask("status", "slow") == "stopping"
    os.killpg(hub.plugin_pid("slow"), signal.SIGKILL)
    hub.wait_event("plugin started", plugin="slow", count=2)


def test_a_crash_loop_is_slowed(make_hub: MakeHub, directory: Path) -> None:
    """A plugin that crashes again and again is started after 0, 1, 2 ... seconds; the others do not notice."""
    hub = make_hub(watcher("bad", CRASHING.format(directory=directory)) + watcher("good")).start()
    hub.wait_plugins("good")
    hub.wait_event("plugin exited", plugin="bad", count=4)
    exits = hub.events("plugin exited", plugin="bad")
    assert [exited["restart_in_seconds"] for exited in exits[:4]] == [0, 1, 2, 4]
    starts = hub.events("plugin started", plugin="bad")
    for exited, start in zip(exits, starts[1:], strict=False):
        assert seconds_between(exited, start) >= exited["restart_in_seconds"] - 0.01
    assert len(hub.events("plugin started", plugin="good")) == 1
    assert "good: active" in hub.ask("status").splitlines()


def test_a_restart_by_hand_does_not_wait(make_hub: MakeHub, directory: Path) -> None:
    """An administrator who has mended the cause gets the plugin now, and a new count of crashes."""
    hub = make_hub(watcher("bad", CRASHING.format(directory=directory))).start(code=PATIENT)
    hub.wait_event("plugin exited", plugin="bad", restart_in_seconds=1000)
    (directory / "mended").touch()
    assert hub.ask("restart", "bad") == "ok"
    hub.wait_event("plugin started", plugin="bad", count=3)
    os.kill(hub.plugin_pid("bad"), signal.SIGKILL)
    assert hub.wait_event("plugin exited", plugin="bad", count=3)["restart_in_seconds"] == 0


def test_a_start_by_hand_does_not_wait(make_hub: MakeHub, directory: Path) -> None:
    """`circusctl start` of a plugin that waits for its next start starts it now."""
    hub = make_hub(watcher("bad", CRASHING.format(directory=directory))).start(code=PATIENT)
    hub.wait_event("plugin exited", plugin="bad", restart_in_seconds=1000)
    (directory / "mended").touch()
    assert hub.ask("start", "bad") == "ok"
    hub.wait_event("plugin started", plugin="bad", count=3)


def test_a_stop_by_hand_sticks(make_hub: MakeHub, directory: Path) -> None:
    """A plugin that an administrator stopped stays stopped, also one that was waiting for its next start."""
    crashing = CRASHING.format(directory=directory)
    hub = make_hub(watcher("waiting", crashing) + watcher("clock", crashing) + watcher("running")).start()
    hub.wait_plugins("running")
    hub.wait_event("plugin exited", plugin="waiting", restart_in_seconds=1)
    assert hub.ask("stop", "waiting", "--waiting") == "ok"
    assert hub.ask("stop", "running", "--waiting") == "ok"
    starts = len(hub.events("plugin started", plugin="waiting"))
    # Another plugin in the same loop is two starts further on.
    hub.wait_event("plugin exited", plugin="clock", restart_in_seconds=4)
    assert len(hub.events("plugin started", plugin="waiting")) == starts
    assert len(hub.events("plugin started", plugin="running")) == 1
    assert {"running: stopped", "waiting: stopped"} <= set(hub.ask("status").splitlines())
    assert hub.ask("start", "running") == "ok"
    hub.wait_event("plugin started", plugin="running", count=2)


def test_a_command_that_cannot_be_run(make_hub: MakeHub, directory: Path) -> None:
    """The reason is said once, the others run, and the plugin starts by itself when the command is there."""
    command = directory / "command"
    hub = make_hub(watcher("bad", f"cmd = {command}") + watcher("good")).start()
    hub.wait_plugins("good")
    failure = hub.wait_event("plugin start failed", plugin="bad")
    assert "No such file" in failure["reason"]
    assert str(command) in failure["reason"]
    assert hub.ask("status", "bad") == "starting"
    command.write_text("#!/bin/sh\nexec sleep 1000\n")
    denied = hub.wait_event("plugin start failed", plugin="bad", count=2)
    assert "Permission denied" in denied["reason"]
    scratch = directory / "scratch"
    scratch.write_text(command.read_text())
    scratch.chmod(0o755)
    scratch.rename(command)
    hub.wait_plugins("bad")
    assert len(hub.events("plugin start failed")) == 2
    assert hub.ask("status") == "bad: active\ngood: active"


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("cmd = sleep 1000\nworking_dir = /no/such/directory", "/no/such/directory"),
        ("cmd = /", "Permission denied"),
        ("cmd = sleep 1000\nrlimit_nofile = -7", "its limits"),
    ],
)
def test_other_reasons_why_nothing_starts(make_hub: MakeHub, keys: str, reason: str) -> None:
    """Whatever keeps a plugin from starting is said once, and ends nothing."""
    hub = make_hub(watcher("bad", keys) + watcher("clock", "cmd = false") + watcher("good")).start()
    hub.wait_plugins("good")
    hub.wait_event("plugin exited", plugin="clock", restart_in_seconds=2)
    (failure,) = hub.events("plugin start failed")
    assert reason in failure["reason"]
    assert {"bad: starting", "good: active"} <= set(hub.ask("status").splitlines())
    assert hub.stop() == Exit.OK


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("python -m hub.plugin nowhere:Plugin", {"exit_code": 2, "meaning": "usage"}),
        ("sh -c 'exit 0'", {"exit_code": 0}),
        ("sh -c 'exit 77'", {"exit_code": 77}),
        ("sh -c 'kill -SEGV $$'", {"signal": "SIGSEGV"}),
        ("sh -c 'kill -40 $$'", {"signal": "40"}),
    ],
)
def test_an_exit_is_explained(make_hub: MakeHub, command: str, said: dict[str, object]) -> None:
    """The log says once for each exit which process it was, what its exit means, and when the next one starts.

    What an exit code of another program means is that program's affair.
    """
    hub = make_hub(watcher("a", f"cmd = {command}")).start()
    hub.wait_event("plugin exited", plugin="a", count=2)
    first, second = hub.events("plugin exited")[:2]
    starts = [event["pid"] for event in hub.events("plugin started")]
    for exited, pid, delay in ((first, starts[0], 0), (second, starts[1], 1)):
        expected = {"plugin": "a", "pid": pid, **said, "restart_in_seconds": delay}
        assert {key: value for key, value in exited.items() if key not in {"event", "level", "timestamp"}} == expected


# circusctl.


def test_restart_of_one_touches_no_other(make_hub: MakeHub) -> None:
    """`circusctl restart a` is for a."""
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
    """Without a name all plugins are restarted, and the hub serves on. circus would end itself."""
    hub = make_hub(watcher("a") + watcher("b")).start()
    hub.wait_plugins("a", "b")
    assert hub.ask(*words, "--waiting") == "ok"
    assert [len(hub.events("plugin started", plugin=name)) for name in ("a", "b")] == [2, 2]
    assert hub.ask("status") == "a: active\nb: active"
    assert hub.stop() == Exit.OK


def test_stop_and_start_of_all(make_hub: MakeHub) -> None:
    """Without a name all plugins are stopped, and started."""
    hub = make_hub(watcher("a") + watcher("b")).start()
    hub.wait_plugins("a", "b")
    assert hub.ask("stop", "--waiting") == "ok"
    assert hub.ask("status") == "a: stopped\nb: stopped"
    assert hub.ask("start", "--waiting") == "ok"
    assert hub.ask("status") == "a: active\nb: active"


def test_reload_never_runs_two_processes(make_hub: MakeHub, directory: Path) -> None:
    """`circusctl reload a` starts the new process after the old one has ended; circus starts it before."""
    hub = make_hub(watcher("a", stubborn(directory, grace=0.3))).start()
    wait_stubborn(hub)
    assert hub.ask("reload", "a", "--waiting") == "ok"
    said = [event["event"] for event in hub.events(plugin="a")]
    assert said == ["plugin started", "plugin stop timed out", "plugin stopped", "plugin started"]


def test_commands_on_one_plugin_take_turns(make_hub: MakeHub, directory: Path) -> None:
    """Commands that come while a plugin stops are obeyed in their order: the last one holds."""
    hub = make_hub(watcher("a", stubborn(directory, grace=0.5))).start()
    wait_stubborn(hub)
    assert hub.ask("restart", "a") == "ok"
    assert hub.ask("stop", "a", "--waiting") == "ok"
    assert hub.ask("status", "a") == "stopped"
    assert not is_alive(hub.plugin_pid("a"))


def test_autostart_waits_for_an_administrator(make_hub: MakeHub) -> None:
    """A plugin with `autostart = false` starts when it is told to."""
    hub = make_hub(watcher("a") + watcher("later", QUIET + "autostart = false")).start()
    hub.wait_plugins("a")
    assert hub.ask("status") == "a: active\nlater: stopped"
    assert hub.ask("start", "later", "--waiting") == "ok"
    assert hub.ask("status", "later") == "active"


def test_add_and_rm(make_hub: MakeHub) -> None:
    """A plugin can be added and removed by hand; it is checked and looked after as any other."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    assert hub.ask("add", "--start", "b", "sleep", "1000") == "ok"
    hub.wait_plugins("b")
    os.kill(hub.plugin_pid("b"), signal.SIGKILL)
    hub.wait_event("plugin started", plugin="b", count=2)
    for words, reason in {
        ("add", "b", "sleep 1"): "exists already",
        ("add", "../b", "sleep 1"): "letters",
        ("add", "c", "'"): "quotation",
        ("rm", "c"): "not found",
    }.items():
        refused = hub.ctl(*words)
        assert refused.returncode != 0
        assert reason in refused.stderr
    assert "keep its resources" in hub.call("rm", name="b", nostop=True)["reason"]
    pid = hub.plugin_pid("b")
    assert hub.ask("rm", "b", "--waiting") == "ok"
    assert not is_alive(pid)
    assert hub.ask("status") == "a: active"


def test_a_plugin_stays_one_process(make_hub: MakeHub) -> None:
    """No command makes two processes of a plugin, or none while it is said to run."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    for words in (("incr", "a"), ("decr", "a"), ("set", "a", "numprocesses", "2")):
        hub.ctl(*words)
    assert len(hub.events("plugin started")) == 1
    assert hub.ask("numprocesses", "a") == "1"
    assert len(psutil.Process(hub.pid).children()) == 1


def test_set_restarts_with_the_option(make_hub: MakeHub) -> None:
    """Options can be changed by hand; variables are added to those the plugin has, and it is restarted with them."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    assert hub.call("set", name="a", options={"env": {"EXTRA": "1"}})["status"] == "ok"
    hub.wait_event("plugin started", plugin="a", count=2)
    env = wait_until(lambda: psutil.Process(hub.plugin_pid("a")).environ(), "its environment")
    assert (env["EXTRA"], env["DPHUB_PLUGIN"]) == ("1", "a")
    assert hub.ask("set", "a", "graceful_timeout", "3") == "ok"
    assert hub.ask("get", "a", "graceful_timeout") == "graceful_timeout: 3.0"


def test_other_commands_answer(make_hub: MakeHub, directory: Path) -> None:
    """What else circusctl can ask is answered, also about a plugin that does not run."""
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


# reloadconfig.


def test_reloadconfig_touches_what_changed(make_hub: MakeHub) -> None:
    """A plugin is added, one removed, one changed; the rest run on, at this reload and at every later one."""
    hub = make_hub(watcher("same") + watcher("gone") + watcher("other") + "[env:same]\nA = 1\n").start()
    hub.wait_plugins("same", "gone", "other")
    same, gone, other = (hub.plugin_pid(name) for name in ("same", "gone", "other"))
    changed = watcher("other", QUIET + "priority = 1")
    hub.config.write_text(watcher("new") + watcher("same") + changed + "[env:same]\nA = 1\n")
    assert hub.ask("reloadconfig", "--waiting") == "ok"
    loaded = hub.wait_event("configuration loaded")
    assert (loaded["added"], loaded["removed"], loaded["changed"]) == (["new"], ["gone"], ["other"])
    assert not is_alive(gone)
    assert not is_alive(other)
    assert hub.ask("status") == "new: active\nother: active\nsame: active"
    for _ in range(2):
        assert hub.ask("reloadconfig", "--waiting") == "ok"
    assert hub.plugin_pid("same") == same
    assert is_alive(same)
    assert len(hub.events("plugin started")) == 5


def test_reloadconfig_after_a_change_of_includes(make_hub: MakeHub, directory: Path) -> None:
    """A change in [circus] does not restart everything, as it does in circus at this and every later reload."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    (directory / "more").mkdir()
    (directory / "more" / "b.ini").write_text(watcher("b"))
    hub.config.write_text(watcher("a") + "[circus]\ninclude_dir = more\n")
    for _ in range(2):
        assert hub.ask("reloadconfig", "--waiting") == "ok"
    assert hub.ask("status") == "a: active\nb: active"
    assert len(hub.events("plugin started")) == 2


def test_reloadconfig_of_a_bad_file_changes_nothing(make_hub: MakeHub) -> None:
    """A mistake is told to the administrator and to the log, and all plugins run on."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    hub.config.write_text(watcher("b") + watcher("a", QUIET + "gracefull_timeout = 1"))
    refused = hub.ctl("reloadconfig")
    assert refused.returncode != 0
    assert "[watcher:a] gracefull_timeout" in refused.stderr
    assert "[watcher:a] gracefull_timeout" in hub.wait_event("configuration rejected")["error"]
    assert hub.ask("status") == "a: active"
    assert len(hub.events("plugin started")) == 1


def test_reloadconfig_leaves_a_stopped_plugin_stopped(make_hub: MakeHub) -> None:
    """Stopped by an administrator, a plugin that did not change stays so."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    assert hub.ask("stop", "a", "--waiting") == "ok"
    hub.config.write_text(watcher("a") + watcher("b"))
    assert hub.ask("reloadconfig", "--waiting") == "ok"
    assert hub.ask("status") == "a: stopped\nb: active"


def test_plugins_of_a_reload_are_looked_after(make_hub: MakeHub) -> None:
    """A plugin that came with a reload has the back-off and the respawn of any other."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    hub.config.write_text(watcher("a") + watcher("b", "cmd = false"))
    assert hub.ask("reloadconfig") == "ok"
    assert hub.wait_event("plugin exited", plugin="b", count=3)["restart_in_seconds"] == 2


def test_sigterm_in_the_middle_of_a_reload(make_hub: MakeHub, directory: Path) -> None:
    """A hub that is stopped while a reload waits for a plugin starts nothing more and leaves nothing behind."""
    # The reload waits for longer than the test, which ends the plugin itself.
    hub = make_hub(watcher("a", stubborn(directory, grace=2 * WAIT_SECONDS))).start()
    wait_stubborn(hub)
    hub.config.write_text(watcher("b"))
    assert hub.ask("reloadconfig") == "ok"
    os.kill(hub.pid, signal.SIGTERM)
    hub.wait_event("hub stopping")
    os.killpg(hub.plugin_pid("a"), signal.SIGKILL)
    assert hub.wait_ended() == Exit.OK
    assert not is_alive(hub.plugin_pid("a"))
    assert not hub.events("plugin started", plugin="b")
    assert "Traceback" not in hub.text()


# What a plugin finds.


def test_environment_of_a_plugin(make_hub: MakeHub) -> None:
    """A plugin inherits the hub's environment as it is, has what circus.ini adds, and knows where things are."""
    hub = make_hub(watcher("a") + "[env:a]\nADDED = $HOME!\nDPHUB_RUN_DIR = /elsewhere\n")
    odd = " spaces and $DOLLARS "
    hub.start(env={"INHERITED": odd, "DPHUB_LOG_LEVEL": "debug"}).wait_plugins("a")
    env = wait_until(lambda: psutil.Process(hub.plugin_pid("a")).environ(), "its environment")
    assert env["INHERITED"] == odd
    assert env["ADDED"] == f"{os.environ['HOME']}!"
    assert env["DPHUB_PLUGIN"] == "a"
    assert env["DPHUB_PLUGIN_DIR"] == str(hub.plugin_dir)
    assert env["DPHUB_RUN_DIR"] == str(hub.run_dir)
    assert env["DPHUB_INSTANCE"] == "dphub"
    assert env["DPHUB_LOG_LEVEL"] == "debug"
    assert env["DPHUB_LOG_FORMAT"] == "auto"
    assert env["MALLOC_ARENA_MAX"] == "1"


def test_python_is_the_hubs_own(make_hub: MakeHub) -> None:
    """`python` in circus.ini is the interpreter with the hub in it, whatever PATH the hub was started with."""
    script = "import os, sys, hub; print(sys.prefix, os.environ['PATH']); input()"
    hub = make_hub(watcher("a", f'cmd = python -c "{script}"')).start(env={"PATH": "/bin:/usr/bin"})
    hub.wait_plugins("a")
    wait_until(lambda: f"{sys.prefix} {Path(sys.executable).parent}:/bin:/usr/bin" in hub.text(), "what it printed")


def test_python_by_another_name(make_hub: MakeHub, directory: Path) -> None:
    """`python` in circus.ini also works where the hub's interpreter has another name, such as python3 on Debian."""
    interpreter = directory / "bin" / "python3"
    interpreter.parent.mkdir()
    interpreter.write_text(f'#!/bin/sh\necho "by another name"\nexec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)
    hub = make_hub(watcher("a", "cmd = python -c 'input()'"))
    hub.start(code=f"import sys; sys.executable = {str(interpreter)!r}; {HUB}")
    wait_until(lambda: "by another name" in hub.text(), "the plugin ran by that interpreter")


def test_what_plugins_print_is_the_hubs_output(make_hub: MakeHub) -> None:
    """Lines of a plugin arrive whole, however long, with nothing between; its input is empty."""
    line = "x" * 5000
    hub = make_hub(watcher("a", f"cmd = sh -c 'echo {line}; cat; echo {line} >&2; exec sleep 1000'")).start()
    wait_until(lambda: hub.text().splitlines().count(line) == 2, "both lines")


def test_nothing_listens_on_the_network(make_hub: MakeHub) -> None:
    """The hub has no TCP and no UDP socket, where circusd has four without authentication; HTTP can be switched off."""
    hub = make_hub(watcher("a")).start(env={"DPHUB_HTTP": "off"})
    hub.wait_plugins("a")
    assert hub.ask("status") == "a: active"
    assert psutil.Process(hub.pid).net_connections(kind="inet") == []


def test_http_on_every_address(make_hub: MakeHub) -> None:
    """A port alone is that of all addresses: a kubelet's probes come to the pod's, people to the loopback one."""
    hub = make_hub(watcher("a")).start(env={"DPHUB_HTTP": ":0"})
    hub.wait_plugins("a")
    reader = Reader(RunDir(hub.run_dir))
    http = wait_until(lambda: (told := reader.instance()) and told.hub.http, "the hub to listen")
    port = int(http.rpartition(":")[2])
    for address in {"127.0.0.1", socket.gethostbyname(socket.gethostname())}:
        with closing(HTTPConnection(address, port, timeout=WAIT_SECONDS)) as client:
            client.request("GET", "/healthz")
            assert client.getresponse().read() == b"ok\n"
    asked = dphub("health", f"--run-dir={hub.run_dir}")
    assert (asked.returncode, asked.stdout) == (Exit.OK, "ok\n")
    os.kill(hub.pid, signal.SIGKILL)
    hub.wait_ended()
    gone = dphub("health", f"--run-dir={hub.run_dir}")
    assert gone.returncode == Exit.USAGE
    assert "no hub is running in" in gone.stderr


def test_http_is_for_the_node_itself(make_hub: MakeHub) -> None:
    """Where nobody says otherwise, the endpoints are on the loopback interface, and there alone."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    (listening,) = wait_until(lambda: psutil.Process(hub.pid).net_connections(kind="inet"), "the hub to listen")
    assert (listening.laddr.ip, listening.status) == ("127.0.0.1", "LISTEN")


def test_an_address_that_is_taken(make_hub: MakeHub) -> None:
    """Plugins are served all the same, and the hub listens once it can; with what is no address it does not start."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        hub = make_hub(watcher("a")).start(env={"DPHUB_HTTP": address})
        hub.wait_plugins("a")
        reason = f"cannot listen on {address}: Address already in use; choose another address with --http or DPHUB_HTTP"
        assert hub.wait_event("http listen failed")["reason"] == reason
        remedy = "stop the process that listens there, or choose another address with dphub run --http or DPHUB_HTTP"
        assert remedy in {problem.remedy for problem in Reader(RunDir(hub.run_dir)).status(running=True).problems}
    wait_until(lambda: Reader(RunDir(hub.run_dir)).status(running=True).hub.report.http == address, "the hub to listen")
    hub.stop()
    hub = make_hub(watcher("a")).start(env={"DPHUB_HTTP": "nowhere"})
    assert hub.wait_ended() == Exit.USAGE
    assert 'is "nowhere", expected HOST:PORT such as 127.0.0.1:9880, or off' in hub.text()
