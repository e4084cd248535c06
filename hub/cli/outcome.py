"""Waits until it is known what became of a plugin that was started."""

import asyncio
import time

from hub.cli.render.text import echo
from hub.cli.target import TargetHub, plugin_of
from hub.cli.waiting import wait_for
from hub.model.node import Condition, PluginStatus
from hub.model.plugin import RegistrationStatus

LIMIT = 60.0
"""Seconds until the outcome is reported as not known yet."""

_ENDED = {
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
    """Wait for a plugin that was started and say how it went.

    Args:
        hub: Its hub.
        plugin: Its name.
        begin: When that was asked for, as of `time.monotonic`.
        before: How often it had been started before.
        verb: What was done.

    Returns:
        Whether all its resources are registered.
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
    if found.condition is Condition.REGISTERED:
        resources = ", ".join(f"{each.name} ({each.allocatable} of {each.capacity})" for each in found.report.resources)
        echo(f"{plugin}: {verb}, registered after {took:.2f} s: {resources}")
        return True
    said = f": {found.message}" if found.message else ""
    if found.condition is Condition.EXTERNAL or (found.condition is Condition.NO_RESOURCES and not found.report.fault):
        echo(f"{plugin}: {verb}, {found.condition}{said}")
        return True
    echo(f"{plugin}: {verb}, but not registered ({found.condition}){said}", error=True)
    return False


def _is_settled(status: PluginStatus) -> bool:
    """Whether nothing else comes by itself soon."""
    if status.condition is Condition.WAITING:
        # Before it has looked for a kubelet it has nothing to say.
        return any(each.registration is RegistrationStatus.WAITING and each.detail for each in status.report.resources)
    return status.condition is Condition.REGISTERED or status.condition in _ENDED
