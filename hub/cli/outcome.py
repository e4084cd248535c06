"""Waits for the outcome of starting a plugin."""

import asyncio
import time

from hub.cli.render.text import echo
from hub.cli.target import TargetHub, plugin_of
from hub.cli.waiting import wait_for
from hub.model.node import Condition, PluginStatus
from hub.model.plugin import RegistrationStatus

LIMIT = 60.0
"""Seconds until the outcome is reported as unknown."""

_REGISTERED = {Condition.REGISTERED, Condition.FAILING}

_FINAL = {
    Condition.BACKING_OFF,
    Condition.START_FAILED,
    Condition.STOPPED,
    Condition.REGISTRATION_FAILED,
    Condition.UNRESPONSIVE,
    Condition.SUPERSEDED,
    Condition.STANDBY,
    Condition.NO_RESOURCES,
    Condition.EXTERNAL,
}


def report_start(hub: TargetHub, plugin: str, *, begin: float, before: int = -1, verb: str = "started") -> bool:
    """Wait for a plugin that was started, and report the outcome.

    Args:
        hub: Its hub.
        plugin: Its name.
        begin: The time of the request, by `time.monotonic`.
        before: Its number of starts before the request.
        verb: What was done, such as "restarted".

    Returns:
        Whether all its resources are registered, or it has none to register and that is not a fault.
    """

    def settled() -> PluginStatus | None:
        status = plugin_of(hub.status(), plugin)
        return status if status.process.starts > before and _is_settled(status) else None

    found = asyncio.run(wait_for(hub.run_dir.path, settled, LIMIT))
    took = time.monotonic() - begin
    if found is None:
        now = plugin_of(hub.status(), plugin)
        echo(f"{plugin}: still {now.condition} after {took:.1f} s; see dphub status", error=True)
        return False
    if found.condition in _REGISTERED:
        resources = ", ".join(f"{each.name} ({each.allocatable} of {each.capacity})" for each in found.report.resources)
        echo(f"{plugin}: {verb}, registered after {took:.2f} s: {resources}")
        for setting in found.report.unmatched:
            echo(f"{plugin}: {setting}")
        return True
    reason = f": {found.message}" if found.message else ""
    if found.condition is Condition.EXTERNAL or (found.condition is Condition.NO_RESOURCES and not found.report.fault):
        echo(f"{plugin}: {verb}, {found.condition}{reason}")
        return True
    echo(f"{plugin}: {verb}, but not registered ({found.condition}){reason}", error=True)
    return False


def _is_settled(status: PluginStatus) -> bool:
    """Return whether the condition will not soon change on its own."""
    if status.condition is Condition.WAITING:
        # There is a detail once the plugin has looked for a kubelet.
        return any(each.registration is RegistrationStatus.WAITING and each.detail for each in status.report.resources)
    return status.condition in _REGISTERED or status.condition in _FINAL
