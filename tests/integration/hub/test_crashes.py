"""A plugin that crashes, or cannot be started, is started again; the others do not notice."""

import os
import signal
import time
from pathlib import Path

import pytest

from hub.base.exits import Exit
from hub.supervisor.circus.arbiter import REAP_INTERVAL
from tests.harness.hub_process import (
    MakeHub,
    ignoring_sigterm,
    is_alive,
    seconds_between,
    wait_ignoring_sigterm,
    watcher,
)
from tests.harness.preloaded.protocol import HUB

ODD_LOGS = {
    "no time zone": """file.write_text('{"event": "", "level": "error", "timestamp": "0001-01-01T00:00"}')""",
    "a line nested too deeply": """file.write_text('{"event": ' + '[' * 60000)""",
}
"""What a plugin may leave in place of its log; each value is a line of Python that writes it."""

FORGER = """
import os
from pathlib import Path
from hub import *

class P(Plugin):
    resource = "example.com/odd"
    def devices(self):
        for name in ("log", "stack"):
            file = Path(self.runtime.run_dir, f"{{self.runtime.instance}}.{{self.runtime.plugin}}.{{name}}")
            file.unlink(missing_ok=True)
            {action}
        os._exit(7)
        return [Device("never reached")]
"""


CRASHING = "cmd = sh -c 'test -e {directory}/fixed || exit 1; exec sleep 1000'\n"


LONG_BACKOFF_HUB = f"""
from hub.supervisor import backoff
def crashed(self):
    delay, self._next = self._next, 1000.0
    return delay
backoff.BackOff.crashed = crashed
{HUB}
"""
"""A hub that delays a plugin for so long after its second crash that no test sees the end of it."""


def test_a_killed_plugin_is_back_at_once(make_hub: MakeHub) -> None:
    """SIGCHLD reports a plugin that dies, before a poll that may come seconds later. No other plugin is touched."""
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
    # Three polls would take at least two poll intervals.
    assert time.monotonic() - begin < REAP_INTERVAL
    assert hub.plugin_pid("d") == other
    assert is_alive(other)


def test_a_crash_is_answered_while_another_plugin_stops(make_hub: MakeHub, directory: Path) -> None:
    """A plugin that is slow to stop delays neither the restart of another plugin nor a command."""
    hub = make_hub(watcher("slow", ignoring_sigterm(directory, grace=1000)) + watcher("b") + watcher("c")).start()
    hub.wait_plugins("b", "c")
    wait_ignoring_sigterm(hub)
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
    """An administrator who has fixed the cause gets the plugin at once, and the count of crashes starts again."""
    hub = make_hub(watcher("bad", CRASHING.format(directory=directory))).start(code=LONG_BACKOFF_HUB)
    hub.wait_event("plugin exited", plugin="bad", restart_in_seconds=1000)
    (directory / "fixed").touch()
    assert hub.ask("restart", "bad") == "ok"
    hub.wait_event("plugin started", plugin="bad", count=3)
    os.kill(hub.plugin_pid("bad"), signal.SIGKILL)
    assert hub.wait_event("plugin exited", plugin="bad", count=3)["restart_in_seconds"] == 0


def test_a_start_by_hand_does_not_wait(make_hub: MakeHub, directory: Path) -> None:
    """`circusctl start` of a plugin that is waiting for its next start starts it at once."""
    hub = make_hub(watcher("bad", CRASHING.format(directory=directory))).start(code=LONG_BACKOFF_HUB)
    hub.wait_event("plugin exited", plugin="bad", restart_in_seconds=1000)
    (directory / "fixed").touch()
    assert hub.ask("start", "bad") == "ok"
    hub.wait_event("plugin started", plugin="bad", count=3)


def test_a_stop_by_hand_sticks(make_hub: MakeHub, directory: Path) -> None:
    """A plugin that an administrator stopped stays stopped, even one that was waiting for its next start."""
    crashing = CRASHING.format(directory=directory)
    hub = make_hub(watcher("waiting", crashing) + watcher("clock", crashing) + watcher("running")).start()
    hub.wait_plugins("running")
    hub.wait_event("plugin exited", plugin="waiting", restart_in_seconds=1)
    assert hub.ask("stop", "waiting", "--waiting") == "ok"
    assert hub.ask("stop", "running", "--waiting") == "ok"
    starts = len(hub.events("plugin started", plugin="waiting"))
    # Another plugin in the same loop has been started two more times.
    hub.wait_event("plugin exited", plugin="clock", restart_in_seconds=4)
    assert len(hub.events("plugin started", plugin="waiting")) == starts
    assert len(hub.events("plugin started", plugin="running")) == 1
    assert {"running: stopped", "waiting: stopped"} <= set(hub.ask("status").splitlines())
    assert hub.ask("start", "running") == "ok"
    hub.wait_event("plugin started", plugin="running", count=2)


def test_a_command_that_cannot_be_run(make_hub: MakeHub, directory: Path) -> None:
    """The reason is logged once, the others run, and the plugin starts on its own when the command is there."""
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


def test_a_command_from_a_variable_is_not_quoted(make_hub: MakeHub) -> None:
    """Anyone may read the status: the reason has the words of circus.ini, not the value of the variable."""
    hub = make_hub("[watcher:bad]\ncmd = $(circus.env.TOKEN) x\n[env]\nTOKEN = hunter2\n").start()
    failure = hub.wait_event("plugin start failed", plugin="bad")
    assert failure["reason"] == "No such file or directory: $(circus.env.TOKEN)"
    assert "hunter2" not in hub.text()


@pytest.mark.parametrize("action", ODD_LOGS.values(), ids=ODD_LOGS.keys())
def test_a_plugin_is_restarted_whatever_its_log_contains(make_hub: MakeHub, directory: Path, action: str) -> None:
    """The hub reads a plugin's log only to explain an exit; its content does not delay any plugin's restart."""
    (directory / "forger.py").write_text(FORGER.format(action=action))
    hub = make_hub(watcher("odd", f"cmd = python -m hub.plugin {directory}/forger.py:P") + watcher("other")).start()
    assert hub.wait_event("plugin exited", plugin="odd")["exit_code"] == 7
    hub.wait_event("plugin started", plugin="odd", count=2)
    os.kill(hub.plugin_pid("other"), signal.SIGKILL)
    hub.wait_event("plugin started", plugin="other", count=2)
    assert hub.stop() == Exit.OK


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("cmd = sleep 1000\nworking_dir = /no/such/directory", "/no/such/directory"),
        ("cmd = /", "Permission denied"),
        ("cmd = sleep 1000\nrlimit_nofile = -7", "its limits"),
    ],
)
def test_other_reasons_why_nothing_starts(make_hub: MakeHub, keys: str, reason: str) -> None:
    """Whatever keeps a plugin from starting is logged once, and does not stop the hub."""
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

    What an exit code of another program means is defined by that program.
    """
    hub = make_hub(watcher("a", f"cmd = {command}")).start()
    hub.wait_event("plugin exited", plugin="a", count=2)
    first, second = hub.events("plugin exited")[:2]
    starts = [event["pid"] for event in hub.events("plugin started")]
    for exited, pid, delay in ((first, starts[0], 0), (second, starts[1], 1)):
        expected = {"plugin": "a", "pid": pid, **said, "restart_in_seconds": delay}
        assert {key: value for key, value in exited.items() if key not in {"event", "level", "timestamp"}} == expected


SHORT_START_LIMIT_HUB = """
from hub.supervisor import watchdog
watchdog.START_LIMIT = 0.5
from hub.cli.commands.run import run; run()
"""
"""A hub that gives a process half a second to start."""


def test_a_process_that_hangs_before_its_first_line(make_hub: MakeHub, tmp_path: Path) -> None:
    """The log says that the hub killed it and why, although it cannot dump its stacks yet."""
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(1000)")
    plugin = "[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub\nwatchdog = 0.5\n"
    hub = make_hub(f"{plugin}[env:stub]\nPYTHONPATH = {tmp_path}\n").start(code=SHORT_START_LIMIT_HUB)
    killed = hub.wait_event("plugin unresponsive, killed", plugin="stub")
    assert killed["reason"] == "it did not start serving within 0.5 s"
    ended = hub.wait_event("plugin exited", plugin="stub")
    assert (ended["pid"], ended["signal"]) == (killed["pid"], "SIGKILL")
