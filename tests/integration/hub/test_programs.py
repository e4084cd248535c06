"""A plugin that is another program, not a plugin process of the hub's own, and what commands show about any plugin."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from hub.base.jsonfile import read_file
from hub.base.paths import RunDir
from hub.model.hub import InstanceReport, RestartReason, RunState
from hub.model.node import Condition, PluginStatus, Severity
from hub.status.reader import Reader
from tests.harness.hub_process import HubProcess, is_alive, wait_until

MakeHub = Callable[[str], HubProcess]
PROGRAM = "[watcher:other]\ncmd = sleep 1000\nwatchdog = 0.2\n"
ENDS = '[watcher:other]\ncmd = sh -c "exit 12"\n'
PLUGIN = "[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub\nwatchdog = 4\n"


def dphub(hub: HubProcess, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to completion."""
    command = [sys.executable, "-m", "hub", *words, f"--run-dir={hub.run_dir}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def plugin(hub: HubProcess, name: str = "other") -> PluginStatus:
    """Return the present status of a plugin."""
    status = Reader(RunDir(hub.run_dir)).status(running=True)
    return next(each for each in status.plugins if each.name == name)


def test_another_program_is_not_a_fault(make_hub: MakeHub) -> None:
    """Its state is unknown: as long as it runs, the node is ready."""
    hub = make_hub(PROGRAM).start()
    reader = Reader(RunDir(hub.run_dir))
    status = wait_until(
        lambda: reader.instance() and (seen := reader.status(running=True)).ready and seen, "the node to be ready"
    )
    assert [problem for problem in status.problems if problem.severity is Severity.ERROR] == []
    (found,) = status.plugins
    assert (found.condition, found.message) == (
        Condition.EXTERNAL,
        "not one of the hub's plugin processes; its state is unknown",
    )


def test_commands_do_not_wait_for_another_program(make_hub: MakeHub) -> None:
    """A restart of such a program, or a reload that changes it, has succeeded when it is running."""
    hub = make_hub(PROGRAM).start()
    hub.wait_plugins("other")
    said = dphub(hub, "restart", "other")
    assert (said.returncode, "other: restarted" in said.stdout) == (0, True), said
    hub.config.write_text(PROGRAM.replace("1000", "2000"))
    said = dphub(hub, "reload")
    assert (said.returncode, "other: restarted" in said.stdout) == (0, True), said
    assert plugin(hub).process.restarts == {RestartReason.REQUESTED: 2}


def test_what_another_program_means_by_its_exit_code(make_hub: MakeHub) -> None:
    """The meaning is unknown: the hub's own meanings apply to its own plugins only."""
    hub = make_hub(ENDS).start()
    ended = hub.wait_event("plugin exited", plugin="other")
    assert (ended["exit_code"], "meaning" in ended) == (12, False)
    last = wait_until(lambda: plugin(hub).process.last_exit, "an exit")
    assert last.reason == "exit code 12"
    wait_until(lambda: plugin(hub).process.restarts.get(RestartReason.CRASHED), "a crash that was counted")
    assert RestartReason.SELF_REQUESTED not in plugin(hub).process.restarts


def test_the_watchdog_ignores_another_program(make_hub: MakeHub) -> None:
    """A program without a heartbeat is not killed for that, while a hanging plugin alongside it is."""
    hub = make_hub(PROGRAM + PLUGIN).start()
    hub.wait_plugins("other", "stub")
    other, stub = hub.plugin_pid("other"), hub.plugin_pid("stub")
    wait_until(lambda: plugin(hub, "stub").last_heartbeat, "a heartbeat of the plugin")
    os.kill(stub, signal.SIGSTOP)
    hub.wait_event("plugin unresponsive, killed", pid=stub)
    assert is_alive(other)
    assert not hub.events("plugin unresponsive, killed", plugin="other")
    assert not RunDir(hub.run_dir).heartbeat("other").exists()


def test_a_plugin_that_becomes_another_program(make_hub: MakeHub) -> None:
    """The present command decides, even after a reload."""
    hub = make_hub(PLUGIN.replace("watcher:stub", "watcher:other")).start()
    hub.wait_plugins("other")
    hub.config.write_text(PROGRAM)
    hub.ask("reloadconfig", "--waiting")
    assert plugin(hub).condition is Condition.EXTERNAL
    hub.config.write_text(PLUGIN.replace("watcher:stub", "watcher:other"))
    hub.ask("reloadconfig", "--waiting")
    assert plugin(hub).condition is not Condition.EXTERNAL


def test_the_status_shows_a_requested_start(make_hub: MakeHub) -> None:
    """When a start, stop or restart is answered, the status shows it, so no earlier state counts as its outcome."""
    hub = make_hub(PROGRAM).start()
    hub.wait_plugins("other")
    path = RunDir(hub.run_dir).hub_report
    wait_until(
        lambda: (report := read_file(path, InstanceReport)) and report.processes[0].starts == 1, "the first start"
    )
    for turn in range(10):
        for command, run in (("stop", RunState.STOPPED), ("start", RunState.RUNNING), ("restart", RunState.RUNNING)):
            before = read_file(path, InstanceReport)
            assert before
            hub.call(command, name="other", waiting=True)
            after = read_file(path, InstanceReport)
            assert after
            expected = before.processes[0].starts + (command != "stop")
            assert (turn, command, after.processes[0].run, after.processes[0].starts) == (turn, command, run, expected)
