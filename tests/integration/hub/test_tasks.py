"""What happens when a task of the hub itself fails."""

import os
import signal
from collections.abc import Callable

from hub.base.paths import RunDir
from hub.model.node import NodeStatus, Severity
from hub.status.reader import Reader
from tests.harness.hub_process import HubProcess, wait_until

FAILING_ONCE = """
from hub.supervisor.watchdog import Watchdog
check = Watchdog._check_plugins
def fail(self, elapsed):
    Watchdog._check_plugins = check
    raise ValueError("a fault in the watchdog")
Watchdog._check_plugins = fail
from hub.base.tasks import Tasks
Tasks.__init__.__kwdefaults__.update(retry=0.1, steady=5.0)
from hub.cli.commands.run import run; run()
"""
"""A hub whose watchdog fails at its first check, and soon works again."""


def test_a_watchdog_that_fails(make_hub: Callable[[str], HubProcess]) -> None:
    """The failure is visible; the watchdog continues, still kills what hangs, and is reported as healthy later."""
    hub = make_hub("[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub\nwatchdog = 4\n")
    hub.start(code=FAILING_ONCE)
    reader = Reader(RunDir(hub.run_dir))

    def failed() -> NodeStatus | None:
        status = reader.status(running=True)
        return status if status.hub.report.failures else None

    hub.wait_event("task failed", task="watchdog", reason="ValueError: a fault in the watchdog")
    hub.wait_event("task restarted", task="watchdog")
    status = wait_until(failed, "the failure in the status")
    problem = next(problem for problem in status.problems if problem.about == "hub")
    assert problem.severity is Severity.WARNING
    assert (
        problem.message == "the task 'watchdog' failed recently and was restarted: ValueError: a fault in the watchdog"
    )
    wait_until(lambda: not reader.status(running=True).hub.report.failures, "the watchdog to recover")
    wait_until(lambda: reader.status(running=True).plugins[0].last_heartbeat, "a heartbeat of the plugin")
    pid = hub.plugin_pid("stub")
    os.kill(pid, signal.SIGSTOP)
    hub.wait_event("plugin unresponsive, killed", pid=pid)
