"""The conditions of the node: one for each plugin."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from hub.agent.objects import Node
from hub.agent.settings import AgentSettings, Meaning
from hub.apiserver.client import Object
from hub.model.node import Condition, NodeStatus, PluginStatus, Severity
from hub.status.problems import device_problems, is_plugin_ready

PREFIX = "Dphub"
"""The prefix of the reasons of the agent's conditions, by which it recognizes those of an earlier agent."""

HEALTHY = "DphubDevicesHealthy"
UNHEALTHY = "DphubDevicesUnhealthy"
FAILED = "DphubPluginFailed"
NO_DEVICES = "DphubNoDevices"
STOPPED = "DphubPluginStopped"
UNKNOWN = "DphubPluginStarting"

MESSAGE_BYTES = 1024
"""The longest message of a condition, and the longest note of an event."""

FAILED_AFTER = 10.0
"""Seconds after which a plugin that does not work counts as failed: a crashed plugin is restarted at once."""

_GOOD, _BAD = True, False

_UNDECIDED = {
    Condition.STARTING,
    Condition.REGISTERING,
    Condition.WAITING,
    Condition.STANDBY,
    Condition.SUPERSEDED,
    Condition.STOPPING,
}
"""Conditions that pass without intervention, or in which another hub has the devices: what was known still holds."""


class Finding(NamedTuple):
    """What is known about the devices of a plugin."""

    healthy: bool | None
    """Whether all devices can be used; None if unknown."""
    reason: str
    message: str


class NodeCondition(NamedTuple):
    """A condition of the node."""

    status: str
    reason: str
    message: str
    since: str
    """When the status changed, as the API writes times."""


def finding_of(plugin: PluginStatus) -> Finding:
    """Return what is known about the devices of a plugin; a cordoned device is not a problem."""
    if plugin.condition in _UNDECIDED:
        return Finding(None, UNKNOWN, f"{plugin.condition}: {plugin.message}".removesuffix(": "))
    if plugin.condition is Condition.STOPPED:
        return Finding(None, STOPPED, "an administrator stopped the plugin")
    if not is_plugin_ready(plugin):
        return Finding(_BAD, FAILED, f"{plugin.condition}: {plugin.message}".removesuffix(": "))
    problems = [each for resource in plugin.report.resources for each in device_problems(plugin.name, resource)]
    if unintended := [problem.message for problem in problems if problem.severity is not Severity.INFO]:
        return Finding(_BAD, UNHEALTHY, "; ".join(unintended))
    if not any(resource.capacity for resource in plugin.report.resources):
        return Finding(_GOOD, NO_DEVICES, plugin.message or "the plugin has no devices")
    return Finding(_GOOD, HEALTHY, "all devices can be used")


class Conditions:
    """The conditions that the node should have, by type.

    Args:
        settings: The types of the conditions, and what True means.
    """

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._failing: dict[str, float] = {}
        self.wanted: dict[str, NodeCondition] = {}

    def take_over(self, node: Node) -> set[str]:
        """Adopt the conditions that an earlier agent has written; return their types."""
        for each in node.status.conditions or ():
            if each.reason.startswith(PREFIX):
                since = each.last_transition_time or ""
                self.wanted[each.type] = NodeCondition(each.status, each.reason, each.message, since)
        return set(self.wanted)

    def update(self, status: NodeStatus, now: float) -> float | None:
        """Derive the conditions from the status; return the seconds until they have to be derived again, if any."""
        wanted: dict[str, NodeCondition] = {}
        for plugin in status.plugins:
            kind = self._settings.condition_type(plugin.name)
            if kind and not plugin.is_off and plugin.condition is not Condition.EXTERNAL:
                wanted[kind] = self._condition(self.wanted.get(kind), self._steady(plugin, now))
        self.wanted = wanted
        left = [FAILED_AFTER - (now - since) for since in self._failing.values()]
        return min((seconds for seconds in left if seconds > 0), default=None)

    def _steady(self, plugin: PluginStatus, now: float) -> Finding:
        """Return what is known about a plugin; one that has just failed counts as starting."""
        found = finding_of(plugin)
        if found.reason != FAILED:
            self._failing.pop(plugin.name, None)
            return found
        since = self._failing.setdefault(plugin.name, now)
        return found if now - since >= FAILED_AFTER else found._replace(healthy=None, reason=UNKNOWN)

    def _condition(self, before: NodeCondition | None, found: Finding) -> NodeCondition:
        if found.reason == UNKNOWN and before:
            return before
        status = "Unknown"
        if found.healthy is not None:
            status = str(found.healthy is (self._settings.condition_true_means is Meaning.HEALTHY))
        since = before.since if before and before.status == status else timestamp(time.time())
        return NodeCondition(status, found.reason, shorten(found.message), since)


def patch_of(written: Mapping[str, NodeCondition | None], heartbeat: str) -> Object:
    """Return a strategic merge patch of the node's status.

    Args:
        written: The conditions to write, by type; None to remove one.
        heartbeat: The time, as the API writes times.
    """
    conditions = [
        {
            "type": kind,
            "status": each.status,
            "reason": each.reason,
            "message": each.message,
            "lastHeartbeatTime": heartbeat,
            "lastTransitionTime": each.since,
        }
        if each
        else {"type": kind, "$patch": "delete"}
        for kind, each in written.items()
    ]
    return {"status": {"conditions": conditions}}


def timestamp(moment: float) -> str:
    """Return a Unix time as the API writes it, in seconds."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shorten(text: str, longest: int = MESSAGE_BYTES) -> str:
    """Truncate a string to at most this many bytes in UTF-8."""
    encoded = text.encode()
    if len(encoded) <= longest:
        return text
    return encoded[: longest - 3].decode(errors="ignore") + "..."
