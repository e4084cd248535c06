"""What happens when a part of the hub itself fails."""

import asyncio
import os
import signal
from collections.abc import Callable

from hub.base.paths import RunDir
from hub.model.node import NodeStatus, Severity
from hub.status.reader import Reader
from hub.supervisor.tasks import run_forever
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.hub_process import HubProcess, wait_until

FAILING_ONCE = """
from hub.supervisor.watchdog import Watchdog
check = Watchdog._check_plugins
def fail(self, elapsed):
    Watchdog._check_plugins = check
    raise ValueError("a fault in the watchdog")
Watchdog._check_plugins = fail
from hub.supervisor import tasks as parts
parts.run_forever.__kwdefaults__.update(retry=0.1, steady=5.0)
from hub.cli.commands.run import run; run()
"""
"""The hub, whose watchdog fails at its first look, and is well again soon."""


async def test_a_part_that_fails_is_started_anew() -> None:
    """As often as it fails. What it failed of is told, and that it is well again after a while."""
    told: list[tuple[str, str]] = []
    well = asyncio.Event()

    def tell(part: str, how: str) -> None:
        told.append((part, how))
        if not how:
            well.set()

    async def work() -> None:
        if len(told) < 2:
            raise ValueError(f"fault {len(told)}")
        await asyncio.Event().wait()

    keeping = asyncio.create_task(run_forever("web", work, tell, retry=0, steady=0.01))
    async with asyncio.timeout(WAIT_SECONDS):
        await well.wait()
    keeping.cancel()
    await asyncio.wait({keeping})
    assert told == [("web", "ValueError: fault 0"), ("web", "ValueError: fault 1"), ("web", "")]


async def test_a_part_that_just_ends_has_failed() -> None:
    """It is to work for ever."""
    told = asyncio.Queue[str]()

    async def work() -> None:
        """Nothing."""

    keeping = asyncio.create_task(run_forever("watchdog", work, lambda _, how: told.put_nowait(how), retry=60))
    async with asyncio.timeout(WAIT_SECONDS):
        assert await told.get() == "it has ended"
    keeping.cancel()
    await asyncio.wait({keeping})


def test_a_watchdog_that_fails(make_hub: Callable[[str], HubProcess]) -> None:
    """Everybody can see it; it goes on, and still kills what hangs; and when it has worked for a while all is well."""
    hub = make_hub("[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub\nwatchdog = 4\n")
    hub.start(code=FAILING_ONCE)
    reader = Reader(RunDir(hub.run_dir))

    def told() -> NodeStatus | None:
        status = reader.status(running=True)
        return status if status.hub.report.failures else None

    hub.wait_event("hub task failed", task="watchdog", reason="ValueError: a fault in the watchdog")
    status = wait_until(told, "the failure in the status")
    problem = next(problem for problem in status.problems if problem.about == "hub")
    assert problem.severity is Severity.WARNING
    assert problem.message == "its watchdog failed recently and was restarted: ValueError: a fault in the watchdog"
    wait_until(lambda: not reader.status(running=True).hub.report.failures, "a watchdog that is well again")
    wait_until(lambda: reader.status(running=True).plugins[0].last_heartbeat, "a plugin that lives")
    pid = hub.plugin_pid("stub")
    os.kill(pid, signal.SIGSTOP)
    hub.wait_event("plugin unresponsive, killed", pid=pid)
